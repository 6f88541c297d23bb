"""Speech: figures of sound, of alignments with it, and of nets that read it."""
