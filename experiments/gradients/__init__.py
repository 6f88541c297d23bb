"""Experiments on vanishing and exploding gradients."""
