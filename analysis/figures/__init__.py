"""Figures: arrays in, matplotlib figures out; nothing is computed here."""
