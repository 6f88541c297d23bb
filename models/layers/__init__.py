"""Layers: stacks, directions, dropout, attention and the Transformer."""
