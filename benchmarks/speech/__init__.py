"""Speech beside PyTorch: the loss of CTC, and a training step of a recogniser."""
