"""Figures of pairs."""
