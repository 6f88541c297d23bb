"""Dialogues as pairs of a turn and the next: from a play's text, or made from a seed."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from data.position import random_words
from data.synthetic.tales import NAMES, THINGS
from data.text.pair_files import Pair

BLOCK = 40  # consecutive turns in the same split
HELD_OUT = {8: "valid", 9: "test"}  # of every ten blocks
MOST_WORDS = 40  # of a side: the last words of a turn, and the first of the next
TURN = re.compile(r"([^\n:]+):\n(.+)", re.DOTALL)
ROOMS = ("in the kitchen", "in the garden", "on the roof", "at the mill", "by the river", "near the gate")

QUESTIONS = 2 * len(NAMES) * (len(NAMES) - 1) * len(THINGS)


class Turn(NamedTuple):
    """A speaker and the words said, in one line."""

    speaker: str
    words: str


def read_turns(text: str) -> list[Turn]:
    """Reads turns between empty lines, each a name with a colon in a line of its own and words below it; a name
    without words is left out."""
    found = (TURN.fullmatch(block.strip()) for block in re.split(r"\n\s*\n", text))
    return [Turn(match[1].strip(), " ".join(match[2].split())) for match in found if match]


def play_in(location: Path) -> Path:
    """Returns the text that is meant: the file itself, or the only one of a folder whose name ends in .txt or
    .txt.gz. Raises ValueError otherwise."""
    if not location.is_dir():
        return location
    found = [path for path in sorted(location.iterdir()) if path.name.endswith((".txt", ".txt.gz"))]
    if len(found) != 1:
        raise ValueError(
            f"{location} has {len(found)} files that end in .txt, not one: name one with --data.dir"
        )
    return found[0]


def turn_pairs(turns: Sequence[Turn]) -> dict[str, list[Pair]]:
    """Pairs the last words of each turn, its speaker in front, with the first words of the next, without its
    speaker. Blocks of turns are split, so that no turn stands in two splits.

    Raises ValueError for fewer turns than ten blocks have.
    """
    if len(turns) < 10 * BLOCK:
        raise ValueError(
            f"the text has {len(turns):,} turns of a dialogue, and {10 * BLOCK} are needed: give each as NAME: in "
            "a line, words below it, and an empty line"
        )
    splits: dict[str, list[Pair]] = {split: [] for split in ("train", "valid", "test")}
    for place, (before, after) in enumerate(pairwise(turns)):
        block = place // BLOCK
        if (place + 1) // BLOCK == block:
            source = " ".join(before.words.split()[-MOST_WORDS:])
            target = " ".join(after.words.split()[:MOST_WORDS])
            splits[HELD_OUT.get(block % 10, "train")].append(Pair(f"{before.speaker}: {source}", target))
    return splits


def made_turns(seed: int, count: int) -> list[Pair]:
    """Makes questions and answers of two people about a thing; the place of the thing is random, the rest of the
    answer follows from the question. All questions differ.

    Raises ValueError for a `count` of more than half of the questions."""
    if not 1 <= count <= QUESTIONS // 2:
        raise ValueError(f"count is {count:,}: 1 to {QUESTIONS // 2:,} questions are made, half of all")
    found: dict[str, Pair] = {}
    block = 0
    while len(found) < count:
        for row in random_words(5 * count, seed, block).reshape(count, 5).tolist():
            pair = _question_and_answer(*row)
            found.setdefault(pair.source, pair)
        block += 1
    return list(found.values())[:count]


def _question_and_answer(asker: int, other: int, thing: int, room: int, kind: int) -> Pair:
    first = NAMES[asker % len(NAMES)]
    second = NAMES[(asker + 1 + other % (len(NAMES) - 1)) % len(NAMES)]
    named, where = THINGS[thing % len(THINGS)], ROOMS[room % len(ROOMS)]
    if kind % 2:
        return Pair(f"{first}: {second}, where is the {named}?", f"The {named} is {where}, {first}.")
    return Pair(
        f"{first}: Did you mend the {named}, {second}?", f"Not yet, {first}, I left the {named} {where}."
    )
