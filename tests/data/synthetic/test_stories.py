"""Stories made from a seed: their answers beside an independent simulation, which reads the sentences alone."""

import pytest

from data.stories.corpus import Question
from data.synthetic.stories import KINDS, stories

SHE, HE = {"anna", "clara"}, {"boris", "emil"}
PEOPLE = SHE | HE


def simulated(question: Question) -> str:
    """Plays a story: where people are, who holds what, where things lie."""
    place: dict[str, str] = {}
    carried: dict[str, str] = {}  # thing: who
    lying: dict[str, str] = {}
    last: list[str] = []
    for sentence in question.story:
        who = [word for word in sentence if word in PEOPLE]
        if {"she", "he"} & set(sentence):
            assert len(last) == 1
            assert last[0] in (SHE if "she" in sentence else HE)
            who = last
        if "took" in sentence:
            thing = sentence[-1]
            assert thing not in carried
            assert lying.get(thing, place.get(who[0])) == place.get(who[0])
            carried[thing] = who[0]
        elif "left" in sentence:
            assert carried.pop(sentence[-1]) == who[0]
            lying[sentence[-1]] = place[who[0]]
        else:
            for one in who:
                place[one] = sentence[-1]
        last = who
    if question.words[0] == "is":
        return "yes" if place[question.words[1]] == question.words[-2] else "no"
    asked = question.words[-2]
    if asked in PEOPLE:
        return place[asked]
    return place[carried[asked]] if asked in carried else lying[asked]


@pytest.mark.parametrize("kind", KINDS)
def test_answers(kind: int) -> None:
    found = stories(kind, 300, seed=0)
    assert [q.answer for q in found] == [simulated(q) for q in found]
    assert found == stories(kind, 300, seed=0) != stories(kind, 300, seed=1)
    assert {len(q.story) for q in found} >= {2, 8}
    shares = [sum(q.answer == answer for q in found) / 300 for answer in {q.answer for q in found}]
    assert max(shares) < (0.6 if kind == 6 else 0.3)


def test_what_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="kind 3 can't be made"):
        stories(3, 1, 0)
    with pytest.raises(ValueError, match="at least 2"):
        stories(1, 1, 0, facts=1)
