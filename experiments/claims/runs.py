"""The runs that `claims` rests on: which experiments with which options, and where they are."""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from experiments.claims.reading import (
    BIASES,
    GAINS,
    LAYERS,
    RATES,
    depths,
    families,
    gated,
    gradients,
    measured_as,
    memory,
    ngrams,
    pairs,
    paths,
    rates,
    search,
    sentences,
    sentiment,
    sizes,
    source,
    speed,
    stacks,
    tags,
    trimming,
    turing,
)
from experiments.claims.results import Arrays, Reader, joined, read_numbers
from experiments.harness.checks import check_at_least
from experiments.harness.errors import UserError
from experiments.harness.options import describe, option_name
from experiments.registry import read_options
from experiments.sweep.plan import Job
from experiments.training import EnsembleOptions

# Cells that learn the temporal order.
CELLS = {"elman": "elman(recurrent_init=orthogonal(gain=1.1))", "lstm": "lstm"}
SEEDS = 3  # of runs of one net each that are compared
TOKENS = 1920  # of a step, however far its gradient goes back
Start = Literal["short", "all", "none"]


@dataclass(frozen=True)
class Config(EnsembleOptions):
    """Claims."""

    length: int = 20
    """Length of the sequences, T."""
    lags: int = 50
    """Steps back over which gradients of untrained nets are measured."""
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(help_behavior_hint="(default: none)")] = ()
    """Folders searched for finished runs, with all below them, before any is started."""
    start: Start = "short"
    """The missing runs to start: those that are short, all (about half an hour), or none. Claims whose runs are
    missing are listed with the command."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(4, length=self.length)
        check_at_least(2, lags=self.lags)
        if self.seeds < 2:
            raise UserError("--seeds", f"must be 2 or more, for one net has no spread, but is {self.seeds}")

    def check(self) -> None:
        """Raises ValueError for a folder of --runs that isn't there, or options that the needed runs refuse."""
        for folder in self.runs:
            if not folder.is_dir():
                raise UserError("--runs", f"{folder} is no folder: name one that holds finished runs")
        for one in ensembles(self).values():
            options_of(one.words).check()


@dataclass(frozen=True)
class Needed:
    """A needed run: its experiment and options, the piece of evidence it gives, and how that is read."""

    words: tuple[str, ...]
    piece: str
    read: Reader
    seed: int | None = None  # where it isn't among the words
    short: bool = False
    alone: bool = False  # for it is timed

    @property
    def command(self) -> str:
        """Returns the words after `python -m experiments`."""
        return shlex.join([*self.words, *([] if self.seed is None else [f"--seed={self.seed}"])])


def needed(config: Config) -> dict[str, Needed]:
    """Returns every run that a claim rests on, by the name of its folder."""
    return {**ensembles(config), **others(config)}


def ensembles(config: Config) -> dict[str, Needed]:
    """Returns the runs of several nets each, which take the options of `claims`, the longest first."""

    def given(*names: str) -> list[str]:
        return [f"{option_name(name)}={getattr(config, name)}" for name in names]

    def short(piece: str, read: Reader, *words: str) -> Needed:
        return Needed(words, piece, read, short=True)

    nets = given("seeds", "hidden_size", "seed")
    training = [*nets, *given("batch_size", "steps")]
    order = ["--problems", "temporal_order", f"--order-length={config.length}"]
    clipping = ["clipping", *training, *order, "--clips", "none", "global_norm", "--rates", *map(str, RATES)]
    scales = ["--gains", *map(str, GAINS), "--biases", *map(str, BIASES)]
    return {
        "depth": short("depth", depths, "elman_depth", *training, f"--layers={LAYERS}"),
        **{
            f"clipping_{name}": short("rates", rates(name), *clipping, f"--order-cell={cell}")
            for name, cell in CELLS.items()
        },
        "gated_cells": short("gated", gated, "gated_cells", *training, *given("length")),
        "initial_gradients": short(
            "gradients", gradients, "initial_gradients", *nets, *given("lags"), *scales
        ),
    }


def others(config: Config) -> dict[str, Needed]:
    """Returns the runs with options of their own, of which only the seed is that of `claims`."""
    attention = "transformer(layers=1, context=T)"
    timed = ["speed", "--cells", "elman", "gru", "lstm", attention, "--methods", "scan", "whole"]
    timed += ["--lengths", "64", "256", "1024", "--hidden-size=64", "--input-size=64", "--repeats=5"]
    deep = ["depth", "--comparisons", "equal_parameters", "--kinds", "lstm", "residual_lstm", "pre_norm"]
    teaching = ("translation", "--system=attention", "--steps=350")
    cut = ("char_lm", "--hidden-size=64", "--steps=600", "--eval-every=300")
    digits = ("digits", "--steps=800", "--hidden-size=48")
    found = {
        "search": Needed(("translation_analysis",), "search", search),
        "paths": Needed(("attention_paths",), "paths", paths),
        "source": Needed(("source_gradients",), "source", source),
        "families": Needed(("families",), "families", families),
        "sizes": Needed(("scaling",), "sizes", sizes),
        "memory": Needed(("long_memory",), "memory", memory),
        "turing": Needed(("turing_tasks",), "turing", turing),
        "pairs": Needed(("few_pairs",), "pairs", pairs),
        "trimming": Needed(("speech",), "trimming", trimming),
        "tags": Needed(("pos_tagging",), "tags", tags, short=True),
        "ngrams": Needed(("ngram",), "ngrams", ngrams, short=True),
        "speed": Needed(tuple(timed), "speed", speed, short=True, alone=True),
    }
    for seed in range(config.seed, config.seed + SEEDS):
        found |= {
            f"sentiment_{seed}": Needed(("sentiment",), "sentiment", sentiment, seed, short=True),
            f"sentences_{seed}": Needed(("sentence_probes",), "sentences", sentences, seed),
            f"stacks_{seed}": Needed((*deep, "--depths", "4", "8"), "stacks", stacks, seed),
        }
        for steps in (5, 20, 60):
            read = measured_as(f"loss|{steps}", "test.cross_entropy")
            words = (*cut, f"--length={steps}", f"--batch-size={TOKENS // steps}")
            found[f"truncation_{steps}_{seed}"] = Needed(words, "truncation", read, seed)
        for share in ("0", "0.9"):
            read = measured_as(f"exact|{share}", "systems.attention.exact")
            words = (*teaching, f"--sampled={share}")
            found[f"teaching_{share}_{seed}"] = Needed(words, "teaching", read, seed)
        for cell in ("lstm", "batch_norm_lstm"):
            read = measured_as(f"loss|{cell}", "test.cross_entropy")
            found[f"digits_{cell}_{seed}"] = Needed((*digits, f"--cell={cell}"), "normalised", read, seed)
    return found


@cache
def options_of(words: tuple[str, ...]) -> Any:
    """Reads the options of an experiment as the command line does."""
    experiment, *options = words
    return read_options(experiment, options).config


def starts(config: Config, one: Needed) -> bool:
    """Tells whether a run is to be started if it is missing."""
    return config.start == "all" or (config.start == "short" and one.short)


def needed_jobs(config: Config, folder: Path) -> dict[str, Job]:
    """Returns the needed runs that may be found or started as jobs, by their names in the folder's `runs/`."""
    jobs = {}
    for name, one in needed(config).items():
        if not (config.runs or starts(config, one) or (folder / "runs" / name).exists()):
            continue
        own, words = options_of(one.words), one.words
        if one.seed is not None:
            own, words = dataclasses.replace(own, seed=one.seed), (*words, f"--seed={one.seed}")
        jobs[name] = Job(
            (("run", name),),
            config.seed,
            (*words, "--devices=1"),
            folder / "runs" / name,
            describe(words[0], own),
        )
    return jobs


def commands_of(config: Config) -> dict[str, str]:
    """Returns the command of every piece; of runs that differ in the seed alone, or in one more option, the first
    and how many there are."""
    by_piece: dict[str, list[str]] = {}
    for one in needed(config).values():
        by_piece.setdefault(one.piece, []).append(one.command)
    return {
        piece: lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else "")
        for piece, lines in by_piece.items()
    }


def measured(runs: Mapping[str, Needed], found: Mapping[str, Path]) -> dict[str, Arrays]:
    """Reads the pieces of evidence of which every run was found, `{piece: arrays}`."""
    pieces: dict[str, list[str]] = {}
    for name, one in runs.items():
        pieces.setdefault(one.piece, []).append(name)
    return {
        piece: joined(read_numbers(runs[name].read, found[name]) for name in names)
        for piece, names in pieces.items()
        if all(name in found for name in names)
    }
