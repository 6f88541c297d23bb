"""Scores of decoded texts, alone and shared by processes."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu

from analysis import Bleu, ExactMatch, LengthRatio
from experiments.corpus_score import CorpusScore, Decoded
from experiments.run_task import scored_on
from train import batch_mesh

ROOT = Path(__file__).parents[2]
WORDS = jnp.array(12)
TEXTS = [f"{'a dog runs over the house now ' * 2}number {n}" for n in range(7)]
BATCHES = [np.arange(3), np.arange(3, 4), np.arange(4, 7)]


def decode(params: Any, batch: Any) -> Iterable[Decoded]:
    """As many words as the parameters say, of texts that differ in one."""
    return [Decoded(" ".join(TEXTS[i].split()[: int(params) + i]), TEXTS[i], f"source {i}") for i in batch]


SCORE = CorpusScore(decode, {"bleu": Bleu(), "ratio": LengthRatio(), "exact": ExactMatch()}, examples=3)


def test_scores_of_all_batches() -> None:
    figures, examples = SCORE(WORDS, BATCHES)
    predictions = [output.prediction for output in decode(WORDS, range(7))]
    whole = sacrebleu.corpus_bleu(predictions, [TEXTS])
    assert figures["bleu"] == pytest.approx(whole.score, abs=1e-9)
    assert (figures["ratio"], figures["exact"]) == (whole.sys_len / whole.ref_len, 3 / 7)
    blocks = examples.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [f"source     source {i}" for i in (0, 3, 6)]
    assert blocks[2].splitlines()[1:] == [f"predicted  {TEXTS[6]}", f"reference  {TEXTS[6]}"]
    assert scored_on(SCORE, BATCHES, batch_mesh(1))(WORDS) == figures


def test_totals_of_shares_add() -> None:
    """The share of a process without a batch adds nothing."""
    shares = [SCORE.totals(WORDS, BATCHES[index::4]) for index in range(4)]
    assert not shares[3].any()
    assert SCORE.figures(np.sum(shares, axis=0)) == SCORE(WORDS, BATCHES).figures


PROCESS = """
import json, sys
import jax

jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from experiments.corpus_score import CorpusScore
from experiments.run_task import scored_on
from tests.experiments.test_corpus_score import BATCHES, SCORE, WORDS, decode
from train import batch_mesh

seen = []
score = CorpusScore(lambda params, batch: seen.append(len(batch)) or decode(params, batch), SCORE.statistics)
print(json.dumps([dict(scored_on(score, BATCHES, batch_mesh(processes="all"))(WORDS)), seen]))
"""


@pytest.mark.slow
def test_two_processes_share_the_decoding() -> None:
    """Each decodes every other batch; both have the figures of one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, where, str(index)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        said = [process.communicate(timeout=200)[0].splitlines()[-1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    figures = SCORE(WORDS, BATCHES).figures
    assert [json.loads(line) for line in said] == [[figures, [3, 3]], [figures, [1]]]
