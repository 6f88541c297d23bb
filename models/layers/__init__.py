"""Layers made of cells: stacked, bidirectional, with dropout."""
