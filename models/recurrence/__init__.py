"""A cell through time: one door, `unroll`, and the methods behind it."""
