"""Pairs of spans and hidden words, undone and found again in the text; exact counts of what is hidden."""

import numpy as np
import pytest

from data.text.masked import MaskedBatches, Sentences, masked_batch, masked_example, split_sentences

WORDS = 397
TYPES = ["<unk>", "<eos>", *(f"w{i}" for i in range(WORDS)), "."]
STOP, V = WORDS + 2, WORDS + 3  # the full stop, the last type; the number of types
DOCUMENT = 10


@pytest.fixture(scope="module")
def text() -> Sentences:
    """60 sentences of different words, so that a span tells where it stands."""
    rng, ids = np.random.default_rng(0), []
    word = 0
    for sentence in range(60):
        for _ in range(int(rng.integers(3, 8))):
            ids.append(2 + word % WORDS)
            word += 1
        ids.append(STOP)
        if sentence % 7 == 6:
            ids.append(1)  # a line end, which is left out
    return split_sentences(np.array(ids, np.int32), TYPES, 1, DOCUMENT)


def test_sentences(text: Sentences) -> None:
    assert len(text) == 60
    assert 1 not in text.ids
    assert (text.ids[text.bounds[1:] - 1] == STOP).all()
    short = np.array([2, STOP, 3, 4, 1, 5, STOP, 6, 7], np.int32)
    assert split_sentences(short, TYPES, 1).bounds.tolist() == [0, 2, 4, 6, 8]
    long = split_sentences(np.tile(short, 3), TYPES, 1, wrapped=True)
    assert long.bounds.tolist() == [0, 2, 6, 10, 14, 18, 22, 24]
    with pytest.raises(ValueError, match="the text has 1 sentences"):
        split_sentences(np.array([3, STOP], np.int32), TYPES, 1)


def sentence_of(text: Sentences, span: np.ndarray) -> int:
    """Returns the sentence that a span begins with. Its words are enough to find it."""
    windows = np.lib.stride_tricks.sliding_window_view(text.ids, len(span))
    (places,) = np.nonzero((windows == span).all(axis=1))
    (place,) = set(places.tolist()) & set(text.bounds.tolist())
    return text.bounds.tolist().index(place)


@pytest.mark.parametrize("follows", [True, False])
def test_the_second_span_is_of_the_same_document(text: Sentences, follows: bool) -> None:
    rng, lengths = np.random.default_rng(1), []
    for _ in range(200):
        first, second = masked_example(text, rng, 31, follows)
        lengths.append(len(first) + len(second))
        one, other = sentence_of(text, first), sentence_of(text, second)
        after = one + int((first == STOP).sum()) + int(first[-1] != STOP)
        assert one // DOCUMENT == other // DOCUMENT
        assert (other == after) == follows
        assert follows or not one <= other <= after
    assert max(lengths) <= 28


def test_what_is_hidden(text: Sentences) -> None:
    """Exactly 80, 10 and 10 % of the chosen words of a batch; put back, both spans are those of the text."""
    batch = masked_batch(text, V, np.random.default_rng(2), rows=40, length=32, share=0.15)
    chosen = int(batch.chosen.sum())
    assert batch.follows.sum() == 20
    columns = np.broadcast_to(np.arange(40), batch.places.shape)
    now = batch.inputs[batch.places, columns][batch.chosen]
    hidden, kept = now == V + 2, now == batch.answers[batch.chosen]
    assert hidden.sum() == round(0.8 * chosen)
    changed = ~hidden & ~kept
    assert changed.sum() <= round(0.1 * chosen)
    assert changed.sum() >= round(0.1 * chosen) - 3  # a random word may be the one that it replaces
    assert (now[changed] < V).all()
    restored = np.array(batch.inputs)
    restored[batch.places[batch.chosen], columns[batch.chosen]] = batch.answers[batch.chosen]
    for row in range(40):
        valid = np.asarray(batch.mask[:, row])
        ids, spans = np.asarray(restored)[valid, row], batch.spans[valid, row]
        (ends,) = np.nonzero(ids == V + 1)
        assert ids[0] == V
        assert len(ends) == 2
        assert ends[1] == len(ids) - 1
        assert spans.tolist() == [0] * (ends[0] + 1) + [1] * (ends[1] - ends[0])
        sentence_of(text, ids[1 : ends[0]])
        sentence_of(text, ids[ends[0] + 1 : ends[1]])
        words = (ids < V).sum()
        assert batch.chosen[:, row].sum() == min(5, max(1, round(0.15 * words)))
        places = batch.places[batch.chosen[:, row], row]
        assert len(set(places.tolist())) == len(places)
        assert (ids[places] < V).all()
        assert not batch.inputs[~batch.mask[:, row], row].any()


def test_unknown_words_are_not_chosen(text: Sentences) -> None:
    common = int(np.bincount(text.ids).argmax())
    known = Sentences(text.ids, text.bounds, DOCUMENT, unknown=common)
    batch = masked_batch(known, V, np.random.default_rng(2), rows=40, length=32, share=0.5)
    assert not (batch.answers[batch.chosen] == common).any()
    assert (batch.inputs == common).any()


def test_batches_are_drawn_anew_and_shared(text: Sentences) -> None:
    """Two processes make the halves of one process's batches; a position restored gives the same next batch."""
    options = {"batch_size": 4, "length": 24, "seed": 3}
    whole = MaskedBatches(text, V, **options)
    halves = [MaskedBatches(text, V, **options, process_index=p, process_count=2) for p in (0, 1)]
    whole.take(2)
    for half in halves:
        half.take(2)
    state, batch, parts = whole.get_state(), whole.take(2), [half.take(2) for half in halves]
    for leaf, first, second, axis in zip(batch, *parts, batch.batch_axes(), strict=True):
        np.testing.assert_array_equal(leaf, np.concatenate([first, second], axis=1 + axis))
    whole.set_state(state)
    again = whole.take(2)
    np.testing.assert_array_equal(again.inputs, batch.inputs)
    assert not np.array_equal(again.inputs[0], again.inputs[1])
    padded = type(again)(*(leaf[0] for leaf in again)).pad_to(6)
    assert padded.inputs.shape == (24, 6)
    assert not padded.mask[:, 4:].any()
    assert not padded.chosen[:, 4:].any()
