"""Text: files, tokenizers, vocabularies, corpora and the streams of batches made from them."""
