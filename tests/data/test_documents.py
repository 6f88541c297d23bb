"""Documents: cut from chains of sentences, as grids of pieces, in batches."""

import numpy as np
import pytest

from data.documents import (
    collate_documents,
    cut_documents,
    document_batches,
    document_bounds,
    document_example,
    held_out_documents,
)


def test_cut() -> None:
    """Every document follows the one before; only the end of a chain is left out."""
    chains = [[f"{name}{i}" for i in range(count)] for name, count in (("a", 23), ("b", 4), ("c", 2))]
    found = cut_documents(chains, 3, 5)
    assert {len(one) for one in found} == {3, 4, 5}
    for chain in chains:
        kept = [sentence for one in found if one[0] in chain for sentence in one]
        assert kept == chain[: len(kept)]
        assert len(chain) - len(kept) < 3
    assert found == cut_documents(chains, 3, 5)


def test_grids_and_batches() -> None:
    rng = np.random.default_rng(0)
    rows = [
        [np.append(rng.integers(2, 9, size=n), 1).astype(np.int32) for n in rng.integers(1, 20, size=3)]
        for _ in range(7)
    ]
    examples = [document_example(one, 1) for one in rows]
    bounds = document_bounds(examples)
    (width, sentences) = bounds[-1]
    assert sentences == 4
    batch = collate_documents(examples, bounds[-1])
    assert batch.inputs.shape == (width, 4, 7)
    for place, one in enumerate(rows):
        for i, row in enumerate([*one, np.array([1])]):
            np.testing.assert_array_equal(batch.inputs[: len(row), i, place], row)
            assert batch.mask[:, i, place].sum() == len(row)
    assert not batch.inputs[~batch.mask].any()
    assert batch.pad_to(9).mask.sum() == batch.mask.sum()
    held = held_out_documents(examples, batch_size=4, bounds=bounds).batches
    trained = document_batches(examples, batch_size=4, seed=0, bounds=bounds).take(1)
    assert trained.inputs.shape[-1] == 4
    assert sum(int(one.mask.any(axis=(0, 1)).sum()) for one in held) == 7
    with pytest.raises(ValueError, match="document 0 of the batch has 4 sentences"):
        collate_documents(examples, (30, 3))
