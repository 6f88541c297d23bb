"""Decoding token by token: sampling, scheduled sampling and beam search."""
