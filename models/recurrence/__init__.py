"""Recurrences over time: `unroll` and the methods that implement it."""
