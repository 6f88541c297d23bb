"""Parsers from the command line: what a run leaves, resuming, untrained searches that give trees, mistakes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import BracketF1, corpus_score
from data import TreesConfig, load_trees, read_trees
from experiments.encoder_decoder.search import SearchConfig
from experiments.harness.files import read_arrays
from experiments.parsing.codes import HeldOut
from experiments.parsing.config import ParserConfig
from experiments.parsing.parsing import Config
from experiments.parsing.scores import bracketing, f1_by_length, score_trees
from experiments.parsing.tasks import build_parser
from tests.experiments.command import command, newest_checkpoint, untimed
from tests.experiments.conftest import alone

DATA = ("--data.sentences", 60, "--data.held-out", 12, "--data.min-count", 1)
SMALL = (
    *DATA,
    *("--hidden-size", 6, "--embedding-size", 6, "--tag-size", 4, "--cell", "elman", "--batch-size", 16),
    *("--steps", 20, "--eval-every", 10, "--save-every", 10, "--log-every", 10, "--devices", 1),
    *("--optimizer.warmup-steps", 2, "--examples", 2),
)
LABELS = ("parsing", "--system", "labels", *SMALL)


@pytest.fixture(scope="session")
def run(shared: Path) -> Path:
    """A finished run of the parser by labels; to be read only."""
    with alone(shared, "parsing") as folder:
        if not (folder / "results.json").exists():
            assert command(*LABELS, "--run-dir", folder) == 0
    return folder


def test_what_a_run_leaves(run: Path) -> None:
    """Scores of the trees that are kept, beside methods without a net; figures, and trees in the table."""
    results = json.loads((run / "results.json").read_text())
    gold = load_trees(TreesConfig(sentences=60, held_out=12, min_count=1)).splits["test"]
    found = read_arrays(run, "nets/labels")
    trees = [read_trees(str(line), "")[0] for line in found["trees"]]
    assert [tree.words for tree in trees] == [tree.words for tree in gold]
    sides = [[bracketing(tree) for tree in side] for side in (trees, gold)]
    assert results["test"]["f1"] == pytest.approx(corpus_score(BracketF1(), *sides))
    assert set(results["baselines"]) == {"right-branching", "PCFG"}
    assert set(results["baselines"]["PCFG"]) == {"f1", "unlabelled", "complete"}
    assert results["baselines"]["PCFG"]["f1"] > 0.5
    assert len(found["shown"]) == 2
    assert str(found["trees"][found["shown"][1]]) in (run / "table.txt").read_text()
    names = {path.stem for path in (run / "figures").glob("*.png")}
    assert names == {"training", "f1_by_length", "trees"}
    assert command("inspect", run) == 0


def test_scores_of_right_and_wrong_trees() -> None:
    gold = load_trees(TreesConfig(sentences=10, held_out=10)).splits["test"]
    assert score_trees(gold, gold) == {"f1": 1.0, "unlabelled": 1.0, "complete": 1.0}
    bare = [tree._replace(constituents=()) for tree in gold]
    assert score_trees(bare, gold) == {"f1": 0.0, "unlabelled": 0.0, "complete": 0.0}
    short = [len(tree.words) < 6 for tree in gold]
    by_length = f1_by_length([b if s else g for b, g, s in zip(bare, gold, short, strict=True)], gold)
    assert by_length[0] == 0
    assert by_length[1] == 1
    assert np.isnan(by_length[-1])


def test_resumed_is_as_whole(run: Path, tmp_path: Path) -> None:
    part = shutil.copytree(run, tmp_path / "part")
    net = part / "nets" / "labels"
    shutil.rmtree(net / "checkpoints" / "20")
    (part / "results.json").unlink()
    (part / "arrays" / "nets" / "labels.npz").unlink()
    assert command(*LABELS, "--resume", part) == 0
    assert newest_checkpoint(net) == newest_checkpoint(run / "nets" / "labels")
    assert untimed(net) == untimed(run / "nets" / "labels")


@pytest.mark.slow
def test_an_untrained_search_gives_trees_over_the_words() -> None:
    """Whatever the parameters, every output is a tree of the sentence: reading it refuses all else."""
    model = ParserConfig(
        cell="elman", hidden_size=5, embedding_size=5, tag_size=3, attention="outputs", dropout=0.0
    )
    config = Config(
        data=TreesConfig(sentences=40, held_out=6, longest=14),
        model=model,
        search=SearchConfig(width=2, normalise="none"),
    )
    parser = build_parser(config, "sequence", config.codes)
    held = parser.task.data.test()
    assert isinstance(held, HeldOut)
    (batch,) = held
    params = parser.task.model.init(
        jax.random.key(0), jnp.asarray(batch.inputs), mask=jnp.asarray(batch.mask)
    )
    for scale in (1.0, 8.0):
        scaled = jax.tree.map(lambda leaf, scale=scale: scale * leaf, params)
        found = parser.parse(scaled, held)
        assert [tree.words for tree in found] == [tree.words for tree in held.trees]
        assert [tree.tags for tree in found] == [tree.tags for tree in held.trees]


@pytest.mark.full
def test_both_parsers(tmp_path: Path) -> None:
    assert command("parsing", *SMALL, "--width", 2, "--run-dir", tmp_path / "run") == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert set(results["systems"]) == {"labels of words", "sequence of brackets"}
    assert "sequence of brackets" in (tmp_path / "run" / "table.txt").read_text()


def test_refuses(tmp_path: Path, refused: Callable[..., None], mistake: Callable[..., str]) -> None:
    refused(
        "--data.dir is missing: --preset gum_labels is for the trees", "parsing", "--preset", "gum_labels"
    )
    refused("--health.every looks into a cell", "parsing", *DATA, "--health.every", 5)
    refused("--data.longest must be 1 or more, but is 0", "parsing", "--data.longest", 0)
    (tmp_path / "train.ptb").write_text("(S (NN a))\n(S (NN b)\n")
    (tmp_path / "dev.ptb").write_text("(S (NN a))\n")
    said = mistake("parsing", "--data.dir", tmp_path)
    assert "the bracket opened in line 2 is never closed" in said
