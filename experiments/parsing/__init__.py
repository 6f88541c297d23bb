"""Parsing: constituency trees by recurrent models."""
