"""Word vectors: words of text a second by ours and by gensim with a worker per core, at the same settings.

Both learn 100 numbers a word, window 5, 5 negatives, subsampling at 1e-4, words from 5 occurrences, from the same
sentences, each in its own process, in turns: skip-gram, then CBOW. Ours is `train_chunk` with the norms, metrics
and checks of every run, on the batches that `python -m experiments word_vectors` makes while it trains.

    python -m benchmarks.word_vectors         one epoch of a made text of a million words
    python -m benchmarks.word_vectors PATH    five epochs, three seeds, of the text files in PATH: wikitext-2/,
                                              gutenberg-books/ and ptb/ptb.train.txt.gz, scored on
                                              word-vectors-eval/
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.command import WORKER, refuse, show_help
from benchmarks.compare import Worker, in_turns

SIDES = ("ours", "gensim")
MADE, TYPES = 1_000_000, 30_000  # words of the made text, and different ones
ROUNDS = 3
Trained = tuple[Sequence[str], np.ndarray]
Train = Callable[[int], tuple[float, Trained]]
"""`seed → seconds, words and vectors`."""


def text_of(path: str) -> Any:
    """Returns the text of the files in a folder, or with an empty path the made one, of Zipf's law."""
    from data import WordTextConfig, load_word_text
    from data.words.text import word_text

    if path:
        root = Path(path)
        places = (root / "wikitext-2", root / "gutenberg-books", root / "ptb" / "ptb.train.txt.gz")
        return load_word_text(WordTextConfig(places))
    random = np.random.default_rng(0)
    share = 1 / (10 + np.arange(TYPES))
    drawn = random.choice(TYPES, MADE, p=share / share.sum())
    lines = [" ".join(f"w{n}" for n in line) for line in np.split(drawn, range(25, MADE, 25))]
    return word_text(["\n".join(lines)], WordTextConfig(), {})


def ours(text: Any, architecture: str, epochs: int) -> Train:
    """Trains as `python -m experiments word_vectors --preset four_million` does."""
    import dataclasses

    import jax
    import jax.numpy as jnp

    from experiments.words.objective import APPLY, word_objective
    from experiments.words.word_vectors import PRESETS, initial
    from models.words.vectors import WordModel
    from train import create_state
    from train.feed import Feed
    from train.step import train_chunk

    preset: Any = PRESETS["four_million"]
    config = dataclasses.replace(preset, architecture=architecture, epochs=float(epochs))
    config.__dict__["text"] = text  # the cached property
    noise = jnp.log(jnp.asarray(config.windows(0).noise_probability, jnp.float32))
    objective, _ = word_objective(config.architecture, config.loss, config.negatives, noise)
    model, chunk = WordModel(len(text.vocabulary), config.size), config.loop.chunk

    def train(seed: int) -> tuple[float, Trained]:
        state = create_state(initial(model, seed), APPLY, jax.random.key(seed))
        feed, steps = Feed(config.windows(seed)), config.steps_of_epochs
        began = time.perf_counter()
        for start in range(0, steps, chunk):
            batches = feed.next(chunk)
            state, _ = train_chunk(
                state, batches, min(chunk, steps - start), loss_fn=objective.loss, optimizer=APPLY
            )
            feed.fetch_ahead(chunk)
        jax.block_until_ready(state.params)
        seconds = time.perf_counter() - began
        return seconds, (text.vocabulary.types, np.asarray(state.params["params"]["inputs"]))

    return train


def gensim(text: Any, architecture: str, epochs: int) -> Train:
    """Trains gensim's Word2Vec with a worker per core."""
    from gensim.models import Word2Vec  # type: ignore[import-not-found]

    types = np.array(text.vocabulary.types)
    parts = np.split(types[text.ids], np.cumsum(text.lengths)[:-1])
    sentences = [part.tolist() for part in parts]

    def train(seed: int) -> tuple[float, Trained]:
        model = Word2Vec(
            vector_size=100, window=5, min_count=1, negative=5, sample=1e-4, epochs=epochs, seed=seed,
            sg=int(architecture == "skip_gram"), workers=os.cpu_count() or 1,
        )  # fmt: skip
        model.build_vocab(sentences)
        began = time.perf_counter()
        model.train(sentences, total_examples=model.corpus_count, epochs=epochs)
        words: Any = model.wv.index_to_key
        return time.perf_counter() - began, (words, np.asarray(model.wv.vectors))

    return train


def serve(side: str, architecture: str, path: str = "") -> None:
    """Trains with the seed of each line read, and answers seconds and scores; for a separate process."""
    from analysis.words.vectors import Vectors
    from data import WordTests, read_word_tests
    from experiments.words.scores import score_vectors

    text = text_of(path)
    tests = read_word_tests(Path(path) / "word-vectors-eval") if path else WordTests()
    train = {"ours": ours, "gensim": gensim}[side](text, architecture, 5 if path else 1)
    for seed, _ in enumerate(sys.stdin):
        seconds, (words, matrix) = train(seed)
        scores = score_vectors(Vectors(tuple(words), np.asarray(matrix, np.float32)), tests, None)
        print(json.dumps({"seconds": seconds, "words": len(text.ids), "scores": scores}), flush=True)


def measure(path: str = "", rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Times and scores the installed sides, in turns; the first turn, which compiles, is not timed.

    Returns for each `architecture` and `side` the median `seconds`, `words_per_second` of text, and its `scores`,
    means over the seeds."""
    names = SIDES if importlib.util.find_spec("gensim") else SIDES[:-1]
    rows = []
    for architecture in ("skip_gram", "cbow"):
        workers = {
            name: Worker("benchmarks.word_vectors", WORKER, name, architecture, *([path] if path else []))
            for name in names
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        sides: Any = {name: Scored(worker, found[name]) for name, worker in workers.items()}
        first, _, times = in_turns(sides, rounds, lambda answer, ours: None)
        for name, seconds in times.items():
            total = first[name]["words"] * (5 if path else 1)
            scores = {key: mean(one[key] for one in found[name][1:]) for key in found[name][0]}
            rows.append(
                {
                    "architecture": architecture,
                    "side": name,
                    "seconds": median(seconds),
                    "words_per_second": total / median(seconds),
                    "scores": scores,
                }
            )
    return rows


class Scored:
    """A worker whose answers' scores are kept."""

    def __init__(self, worker: Worker, scores: list[dict[str, float]]) -> None:
        self.worker, self.scores = worker, scores

    def ask(self) -> Any:
        """Returns the answer to one request."""
        answer = self.worker.ask()
        self.scores.append(answer["scores"])
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.worker.close()


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """Formats a line per side."""
    lines = []
    for row in rows:
        scores = "".join(
            f"  {name.removeprefix('similarity_')} {value:.3f}" for name, value in row["scores"].items()
        )
        speed = f"{row['words_per_second'] / 1e6:.3f} million words a second"
        lines.append(f"{row['architecture']:<10} {row['side']:<7} {row['seconds']:7.1f} s  {speed}{scores}")
    return "\n".join(lines)


if __name__ == "__main__":
    show_help(sys.argv[1:], __doc__)
    if sys.argv[1:2] == [WORKER]:
        serve(*sys.argv[2:])
    elif sys.argv[2:] or not all(Path(place).is_dir() for place in sys.argv[1:]):
        refuse("python -m benchmarks.word_vectors takes a folder, or nothing")
    else:
        print(format_rows(measure(sys.argv[1] if sys.argv[1:] else "")))
