"""Figures of constituency trees."""
