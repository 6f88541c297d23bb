"""Measures of stacks of layers."""
