"""Figures: arrays in, matplotlib figures out, without computation."""
