"""Autoencoders: one vector a sentence, and the sentence back from it."""
