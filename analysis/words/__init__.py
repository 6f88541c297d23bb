"""Word vectors: what is measured of them, and what counts alone give."""
