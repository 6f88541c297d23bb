"""Tasks generated from a key: their sequences and endless batches."""
