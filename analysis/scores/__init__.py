"""Corpus scores: vectors of counts, one a sentence, that add."""
