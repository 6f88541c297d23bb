"""Running text for word vectors: reading, phrases, windows, and the questions that vectors are tested by."""
