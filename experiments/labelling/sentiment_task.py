"""Classification of sentences as a `Task`, its baselines, and what is measured of a trained net."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data import (
    Batches,
    ClassifiedText,
    Example,
    SentenceEncoder,
    SortedBatches,
    WordEncoder,
    bucket_batches,
    load_classified,
    sorted_batches,
)
from experiments.harness.processes import process_shard
from experiments.labelling.config import batch_shapes, digest_of
from experiments.labelling.sentiment_config import SentimentConfig
from experiments.objective import classification, measured_by
from experiments.run_task import Trained
from experiments.task import METRICS, Data, Recurrence, Task
from experiments.task_report import training_record
from models import TextClassifier
from models.cell import Params
from train import evaluate

TOGETHER = 100  # sentences of a held-out batch
BAYES = "naive Bayes, pairs of words"
# Sentences whose polarity turns on the context of the word in brackets, in words that the grammar has too.
TURNING: tuple[tuple[str, bool], ...] = (
    ("the film was [terribly] exciting", True),
    ("the film was [terribly] dull", False),
    ("this play was [awfully] funny", True),
    ("this play was [awfully] boring", False),
    ("the story was terribly [good]", True),
    ("the acting was [really] bad", False),
    ("that show was not [dull]", True),
    ("that show was not [exciting]", False),
    ("the plot was hardly [moving]", False),
    ("the plot was hardly [boring]", True),
    ("the music was far from [tedious]", True),
    ("the music was far from [charming]", False),
    ("this record was anything but [weak]", True),
    ("this record was anything but [clever]", False),
    ("we never [enjoyed] the book", False),
    ("we never [regretted] the book", True),
    ("the film was not a [triumph]", False),
    ("the film was not a [failure]", True),
    ("the plot was [dull] , but the acting was great", True),
    ("the plot was [charming] , but the acting was weak", False),
    ("the story was not at all [silly]", True),
)


def turning_words(sentence: str) -> tuple[tuple[str, ...], int]:
    """Returns the words of such a sentence, and the place of the one in brackets."""
    words = sentence.split()
    return tuple(word.strip("[]") for word in words), next(i for i, w in enumerate(words) if w[0] == "[")


loaded = lru_cache(maxsize=10)(load_classified)  # of the folds


def text_of(config: SentimentConfig, fold: int) -> ClassifiedText:
    """Returns the sentences of a fold; of texts without folds all are the same."""
    return loaded(replace(config.data, fold=fold))


@lru_cache(maxsize=10)
def encoder_of(config: SentimentConfig, fold: int) -> SentenceEncoder:
    """Returns the encoder of the words of the training sentences, or that of the run of --from."""
    if config.begins_from is not None:
        return config.begins_from.words
    words = [sentence.words for sentence in text_of(config, fold).splits["train"]]
    return WordEncoder.build(words, characters=config.model.characters != "none", min_count=config.min_count)


def examples(config: SentimentConfig, fold: int, split: str) -> list[Example]:
    """Returns the sentences of a split as rows of ids and the number of their class."""
    text, encoder = text_of(config, fold), encoder_of(config, fold)
    numbers = {label: np.int32(number) for number, label in enumerate(text.classes)}
    return [Example(encoder.encode(words), numbers[label]) for words, label in text.splits[split]]


@lru_cache(maxsize=10)
def bounds_of(config: SentimentConfig, fold: int) -> list[int]:
    """Returns the lengths of the buckets: sentences that are made are of similar length, and have one."""
    encoder = encoder_of(config, fold)
    longest = max(
        len(encoder.encode(s.words)) for found in text_of(config, fold).splits.values() for s in found
    )
    return [longest] if config.data.dir is None else [*(n for n in (16, 32) if n < longest), longest]


def held_out(config: SentimentConfig, fold: int, split: str) -> SortedBatches:
    """Returns a split in batches of sentences of similar length."""
    return sorted_batches(examples(config, fold, split), batch_size=TOGETHER, bounds=bounds_of(config, fold))


def model_of(config: SentimentConfig, fold: int, *, forward: bool = False) -> TextClassifier:
    """Builds the classifier; `forward` reads forward only."""
    return TextClassifier(
        config.model.reader(encoder_of(config, fold)),
        (config.beside if forward else config).layer(),
        len(text_of(config, fold).classes),
        config.pool,
        dropout=config.model.vector_dropout,
        method=config.network.way,
    )


def sentiment_task(config: SentimentConfig, fold: int, *, forward: bool = False) -> Task:
    """Builds the task of telling the class of a sentence."""
    model, bounds = model_of(config, fold, forward=forward), bounds_of(config, fold)
    encoder = encoder_of(config, fold)

    def train(seed: int, rows: int) -> Batches:
        found = examples(config, fold, "train")
        return bucket_batches(found, batch_size=rows, seed=seed, bounds=bounds, **process_shard())

    held = text_of(config, fold).splits
    return Task(
        title="sentiment",
        model=model,
        data=Data(
            train,
            lambda: held_out(config, fold, "valid").batches,
            lambda: held_out(config, fold, "test").batches,
            f"{len(held['test']):,} test sentences",
            shapes=lambda rows: batch_shapes(encoder, bounds[-1], rows, (rows,)),
            held_out=len(held["valid"]),
        ),
        objective=measured_by(model, classification),
        metrics={name: METRICS[name] for name in ("cross_entropy", "accuracy")},
        select="accuracy",
        initial=lambda seed: config.initial(model, encoder, seed),
        recurrent=Recurrence(model.cell, classification),
        fingerprint=digest_of(encoder),
    )


# --- baselines


def words_and_pairs(words: Sequence[str]) -> list[str]:
    """Returns the words of a sentence and its pairs of neighbouring words."""
    return [*words, *map(" ".join, pairwise(words))]


def naive_bayes(text: ClassifiedText) -> Any:
    """Fits naive Bayes on which words and pairs of words occur, to all sentences but those tested; its
    `predict_proba` takes sentences as lists of words. A strong baseline for snippets: Wang & Manning 2012."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    known = [*text.splits["train"], *text.splits["valid"]]
    split: Any = words_and_pairs  # what stubs call a str may be a function
    fitted = make_pipeline(CountVectorizer(analyzer=split, binary=True), MultinomialNB())
    return fitted.fit([sentence.words for sentence in known], [sentence.label for sentence in known])


def measure_baselines(config: SentimentConfig, fold: int) -> dict[str, np.ndarray]:
    """Returns `accuracy|NAME` of the commonest class and of naive Bayes on the test sentences, and the
    probabilities `turning [n, classes]` that naive Bayes gives to the sentences that turn on context."""
    text = text_of(config, fold)
    fitted = naive_bayes(text)
    labels = np.array([sentence.label for sentence in text.splits["test"]])
    train = [sentence.label for sentence in text.splits["train"]]
    guessed = fitted.predict([sentence.words for sentence in text.splits["test"]])
    return {
        f"accuracy|{BAYES}": np.array(np.mean(guessed == labels)),
        "accuracy|the commonest class": np.array(np.mean(labels == max(text.classes, key=train.count))),
        "turning": fitted.predict_proba([turning_words(sentence)[0] for sentence, _ in TURNING]),
    }


# --- what a trained net says


def measure(config: SentimentConfig, fold: int, task: Task, trained: Trained, folder: Path) -> dict[str, Any]:
    """Returns `test|METRIC`; `curve|METRIC` and `curve|METRIC/step` of the evaluations; `parameters`; and of the
    sentences shown (`shown|PLACE`, evenly spaced among those tested) and of those that turn on context
    (`turning|PLACE`) what `said_of` does, with `/label` the class of the former and `/row` that of the word in
    brackets of the latter."""
    text, encoder = text_of(config, fold), encoder_of(config, fold)
    tested = text.splits["test"]
    record = training_record(folder)
    places = np.unique(np.linspace(0, len(tested) - 1, config.examples).round().astype(int)).tolist()
    shown = {f"shown|{place}": tested[place].words for place in places}
    shown |= {f"turning|{place}": turning_words(one)[0] for place, (one, _) in enumerate(TURNING)}
    assert isinstance(task.model, TextClassifier)
    test = evaluate(task.objective.evaluate, trained.after, task.data.test())
    return {
        **{f"test|{name}": np.array(value) for name, value in test.items()},
        **{
            name.replace("validation/", "curve|"): values
            for name, values in record.items()
            if name.startswith("validation/")
        },
        "parameters": np.array(sum(leaf.size for leaf in jax.tree.leaves(trained.after))),
        **said_of(task.model, trained.after, encoder, shown),
        **{f"shown|{place}/label": np.array(text.classes.index(tested[place].label)) for place in places},
        **{
            f"turning|{place}/row": np.array(encoder.row_of(*turning_words(one)))
            for place, (one, _) in enumerate(TURNING)
        },
    }


def said_of(
    model: TextClassifier, params: Params, encoder: SentenceEncoder, sentences: Mapping[str, Sequence[str]]
) -> dict[str, np.ndarray]:
    """Returns of each sentence of T rows, by its name, `/words [T]`; the probabilities of the classes, `/whole
    [classes]`, and what the output at each word alone would give, `/each [T, classes]`; and where the net attends,
    `/weights [T]`."""
    rows = [encoder.encode(words) for words in sentences.values()]
    batches = sorted_batches(
        [Example(row, 0) for row in rows], batch_size=len(rows), bounds=[max(map(len, rows))]
    )
    (batch,) = batches.batches
    mask = jnp.asarray(batch.mask)
    apply = jax.jit(partial(model.apply, params, mask=mask), static_argnames="method")
    found = {"each": jax.nn.softmax(jnp.asarray(apply(batch.inputs, method="word_logits")))}
    if model.pool == "attention":
        found["weights"] = apply(batch.inputs, method="attention_weights")
    whole = batches.restore_order(list(np.asarray(jax.nn.softmax(jnp.asarray(apply(batch.inputs))))))
    by_word = {
        name: batches.restore_order(list(np.swapaxes(np.asarray(values), 0, 1)))
        for name, values in found.items()
    }
    said = {}
    for place, (name, words) in enumerate(sentences.items()):
        said |= {f"{name}/words": np.array(encoder.shown(words)), f"{name}/whole": whole[place]}
        said |= {f"{name}/{part}": values[place][: len(rows[place])] for part, values in by_word.items()}
    return said
