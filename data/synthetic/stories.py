"""Short stories with questions, made from a seed: five of the kinds of bAbI, in words of our own. Weston et al.
2015.

1: someone goes somewhere; where is she? 2: things are taken, carried and left; where is the lamp? 6: is she there?
11: the next sentence says he or she. 12: two go together.
"""

from collections.abc import Callable

from data.position import random_words
from data.stories.corpus import Question, Sentence, words_of

PEOPLE = {"Anna": "she", "Boris": "he", "Clara": "she", "Emil": "he"}
PLACES = ("attic", "cellar", "garage", "library", "terrace", "workshop")
THINGS = ("lamp", "ladder", "parcel")
GOES = ("walked to", "ran to", "hurried to", "came back to")
THEN = ("Then", "Later", "After this")
KINDS = (1, 2, 6, 11, 12)


class Draws:
    """Choices from a stream of random numbers."""

    def __init__(self, seed: int, stream: int, size: int) -> None:
        self.words = iter(random_words(size, seed, stream).tolist())

    def below(self, count: int) -> int:
        """Draws a whole number from 0 … count − 1."""
        return next(self.words) % count

    def of(self, choices: tuple[str, ...]) -> str:
        """Draws one of several."""
        return choices[self.below(len(choices))]


def stories(kind: int, count: int, seed: int, facts: int = 8) -> list[Question]:
    """Makes `count` questions of a kind, each about a story of its own of 2 to `facts` sentences.

    Raises ValueError for an unknown kind, and for fewer than 2 facts, or fewer than 1 question.
    """
    if kind not in KINDS:
        raise ValueError(f"stories of kind {kind} can't be made: there are {', '.join(map(str, KINDS))}")
    if count < 1 or facts < 2:
        raise ValueError(f"{count} questions of up to {facts} facts: make at least 1, of at least 2")
    draw = Draws(seed, kind, count * (8 * facts + 16))
    make: Callable[[Draws, int], Question] = {1: going, 2: carrying, 6: yes_or_no, 11: meaning, 12: together}[
        kind
    ]
    return [make(draw, 2 + draw.below(facts - 1)) for _ in range(count)]


def went(draw: Draws, who: str, place: str) -> Sentence:
    """Returns a sentence in which someone goes somewhere."""
    return words_of(f"{who} {draw.of(GOES)} the {place}.")


def walks(draw: Draws, facts: int) -> tuple[list[Sentence], dict[str, str]]:
    """Makes sentences of people going to places, and where each is at the end."""
    told, where = [], {}
    for _ in range(facts):
        who = draw.of(tuple(PEOPLE))
        where[who] = draw.of(PLACES)
        told.append(went(draw, who, where[who]))
    return told, where


def asked_where(draw: Draws, told: list[Sentence], where: dict[str, str], the: str = "") -> Question:
    """Asks where one of those is whose place is known."""
    what = draw.of(tuple(where))
    return Question(tuple(told), words_of(f"Where is {the}{what}?"), where[what])


def going(draw: Draws, facts: int) -> Question:
    """Kind 1: one sentence tells the answer."""
    return asked_where(draw, *walks(draw, facts))


def yes_or_no(draw: Draws, facts: int) -> Question:
    """Kind 6: asks for one place, the true one half of the time."""
    told, where = walks(draw, facts)
    who = draw.of(tuple(where))
    others = tuple(place for place in PLACES if place != where[who])
    place = where[who] if draw.below(2) else draw.of(others)
    answer = "yes" if place == where[who] else "no"
    return Question(tuple(told), words_of(f"Is {who} in the {place}?"), answer)


def meaning(draw: Draws, facts: int) -> Question:
    """Kind 11: every second sentence says he or she for the one before it."""
    told, where = [], {}
    for _ in range((facts + 1) // 2):
        who = draw.of(tuple(PEOPLE))
        told.append(went(draw, who, draw.of(PLACES)))
        where[who] = draw.of(PLACES)
        told.append(went(draw, f"{draw.of(THEN)} {PEOPLE[who]}", where[who]))
    return asked_where(draw, told, where)


def together(draw: Draws, facts: int) -> Question:
    """Kind 12: two go together."""
    told, where, people = [], {}, tuple(PEOPLE)
    for _ in range(facts):
        first = draw.below(len(people))
        second = (first + 1 + draw.below(len(people) - 1)) % len(people)
        place = draw.of(PLACES)
        where |= {people[first]: place, people[second]: place}
        told.append(went(draw, f"{people[first]} and {people[second]}", place))
    return asked_where(draw, told, where)


def carrying(draw: Draws, facts: int) -> Question:
    """Kind 2: someone takes a thing, goes with it and may leave it; the thing is where she or it was last."""
    told, where, holder, lies = [], {}, {}, {}
    who, thing = draw.of(tuple(PEOPLE)), draw.of(THINGS)
    told.append(words_of(f"{who} took the {thing}."))
    holder[thing] = who
    where[who] = draw.of(PLACES)
    told.append(went(draw, who, where[who]))
    for _ in range(facts - 2):
        who, act = draw.of(tuple(PEOPLE)), draw.below(3)
        held = tuple(thing for thing in THINGS if holder.get(thing) == who)
        near = tuple(t for t in THINGS if t not in holder and lies.get(t, where.get(who)) == where.get(who))
        if act == 1 and held and who in where:
            thing = draw.of(held)
            del holder[thing]
            lies[thing] = where[who]
            told.append(words_of(f"{who} left the {thing}."))
        elif act == 2 and near and who in where:
            thing = draw.of(near)
            holder[thing] = who
            told.append(words_of(f"{who} took the {thing}."))
        else:
            where[who] = draw.of(PLACES)
            told.append(went(draw, who, where[who]))
    known = lies | {thing: where[who] for thing, who in holder.items() if who in where}
    return asked_where(draw, told, known, "the ")
