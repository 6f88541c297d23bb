"""Speech: sound files and corpora of them, log-mel features, utterances joined of single words, batches."""
