"""Pairs whose source is an image, an abstract or a turn of a dialogue."""
