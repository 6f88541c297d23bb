"""Training and searching of encoder–decoder models, for every subject that has pairs of sequences."""
