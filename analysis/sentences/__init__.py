"""Figures of scores of sentences."""
