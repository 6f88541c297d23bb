"""Models of sentences among other sentences."""
