"""One library a file, each with `build(work, sharded) -> Layer`, as its users write it."""
