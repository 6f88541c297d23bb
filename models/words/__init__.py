"""Models of single words."""
