"""Tasks made from a key: their sequences and endless batches."""
