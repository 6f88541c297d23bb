"""Training that begins with the encoder of a finished run."""
