"""Translation: encoder–decoder models side by side."""
