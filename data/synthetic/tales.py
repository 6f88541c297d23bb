"""Short tales whose sentences follow from one another: one person does one thing after another to one object."""

import numpy as np

_NAMES = """Anna Boris Clara David Emma Felix Greta Hugo Irene Jonas Karla Leo Maria Nils Olga Peter Rosa Simon Tina
Urs Vera Walter Xenia Yuri"""
_THINGS = """lamp boat clock drum flute garden harp kettle ladder mirror needle oven plough quilt ring saddle table
wagon bell candle door fence gate hammer jar knife lock mill nest pipe rope shoe tower vase wheel basket chair
bridge cart mask"""
NAMES, THINGS = _NAMES.split(), _THINGS.split()
VERBS = ("sees", "wants", "buys", "carries", "cleans", "mends", "paints", "sells")  # in their order
ADVERBS = ("quickly", "quietly", "gladly", "slowly", "soon", "later", "today", "again")
SHARES = {"train": 600, "valid": 40, "test": 40}  # tales


def tales(seed: int = 0) -> dict[str, list[list[str]]]:
    """Returns the sentences of each tale, by split.

    No two tales have both the person and the object in common. The adverb of a sentence is random, the verb follows
    from that of the sentence before."""
    rng = np.random.default_rng(seed)
    order = iter(rng.permutation(len(NAMES) * len(THINGS)).tolist())
    return {
        split: [_tale(rng, *divmod(next(order), len(THINGS))) for _ in range(count)]
        for split, count in SHARES.items()
    }


def _tale(rng: np.random.Generator, person: int, thing: int) -> list[str]:
    adverbs = rng.integers(len(ADVERBS), size=len(VERBS)).tolist()
    return [
        f"{NAMES[person]} {ADVERBS[adverb]} {verb} the {THINGS[thing]}."
        for verb, adverb in zip(VERBS, adverbs, strict=True)
    ]
