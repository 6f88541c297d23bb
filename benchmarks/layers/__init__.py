"""One library a file, each with `build(work, sharded) -> Layer`; equal weights, equal inputs, as its users write it."""
