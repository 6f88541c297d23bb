"""Experiments that label words, sentences and documents."""
