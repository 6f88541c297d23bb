"""Experiments on long memory: tasks that need it, and which cells learn them."""
