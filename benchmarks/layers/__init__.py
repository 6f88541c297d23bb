"""One file per library, each with `build(work, sharded) -> Layer`, as its users would write it."""
