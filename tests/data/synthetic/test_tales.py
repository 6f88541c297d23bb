"""Made tales: the order of what is done, and no pair of person and object twice."""

from data.synthetic.tales import VERBS, tales


def test_tales() -> None:
    made = tales()
    found = [tale for split in made.values() for tale in split]
    assert all([one.split()[2] for one in tale] == list(VERBS) for tale in found)
    about = [{(one.split()[0], one.split()[4]) for one in tale} for tale in found]
    assert all(len(pair) == 1 for pair in about)
    assert len(set.union(*about)) == len(found)
