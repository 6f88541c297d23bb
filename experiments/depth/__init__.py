"""Depth: stacks of one to many layers, trained and measured layer by layer."""
