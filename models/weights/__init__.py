"""Weights of cells and layers from and to other libraries, exactly and without importing them."""
