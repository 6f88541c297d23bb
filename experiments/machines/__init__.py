"""Experiments on machines with a memory that they read and write."""
