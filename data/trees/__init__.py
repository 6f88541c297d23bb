"""Constituency trees: read from files or made, and written as sequences, as labels of words, as rules."""
