"""Decoding token by token: sampling and scheduled sampling."""
