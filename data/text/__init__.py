"""Text: files, tokenizers, vocabularies, corpora and streams of batches."""
