"""Pairs from files: found by name, read line by line or at tabs, split so that no source is on both sides."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import Pair, join_pairs, read_pairs
from data.text.pair_files import PairFiles, find_pair_files, split_pairs

GERMAN, ENGLISH = "Ein Mann.\n  Zwei  Frauen \n", "A man.\nTwo women.\n"
PAIRS = [Pair("Ein Mann.", "A man."), Pair("Zwei  Frauen", "Two women.")]


def write(folder: Path, **files: str) -> Path:
    """Writes files whose names have an underscore for their dot; those ending in gz are gzipped."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return folder


def test_two_files_or_one_with_tabs(tmp_path: Path) -> None:
    write(tmp_path, a_de=GERMAN, a_en_gz=ENGLISH, a_tsv="Ein Mann.\tA man.\r\nZwei  Frauen\t Two women.\r\n")
    assert read_pairs(tmp_path / "a.de", tmp_path / "a.en.gz") == PAIRS
    assert read_pairs(tmp_path / "a.tsv") == PAIRS
    (tmp_path / "b.de").write_bytes("Öl\n".encode("latin-1"))
    (tmp_path / "b.en").write_bytes(b"oil\n")
    assert read_pairs(tmp_path / "b.de", tmp_path / "b.en", encoding="latin-1") == [("Öl", "oil")]


@pytest.mark.parametrize(
    ("german", "english", "said"),
    [
        ("a\nb\n", "a\nb\nc\n", r"t\.de has 2 lines, but .*t\.en has 3: give two files that translate"),
        ("a\nb\n", "a\n \n", r"line 2 of .*t\.en is empty: take the pair out, on both sides"),
        ("a\n\n", "a\nb\n", r"line 2 of .*t\.de is empty"),
        ("a\n", " \n", r"t\.en is empty: give a file that holds text"),
    ],
)
def test_files_that_are_no_pairs(tmp_path: Path, german: str, english: str, said: str) -> None:
    write(tmp_path, t_de=german, t_en=english)
    with pytest.raises(ValueError, match=said):
        read_pairs(tmp_path / "t.de", tmp_path / "t.en")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\tb\nc d\n", r"line 2 of .*t\.tsv has 0 tabs: each line needs a source, one tab and a target"),
        ("a\tb\tc\n", r"line 1 of .*t\.tsv has 2 tabs"),
        ("a\tb\nc\t \n", r"the target in line 2 of .*t\.tsv is empty"),
        ("a\tb\n\tc\n", r"the source in line 2 of .*t\.tsv is empty"),
    ],
)
def test_lines_that_are_no_pairs(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, t_tsv=text)
    with pytest.raises(ValueError, match=said):
        read_pairs(tmp_path / "t.tsv")


def test_files_are_found_by_their_names(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", train_de="a", train_en="a", val_de_gz="a", val_en="a", README_md="a")
    assert find_pair_files(folder, "de", "en") == {
        "train": [PairFiles(folder / "train.de", folder / "train.en")],
        "valid": [PairFiles(folder / "val.de.gz", folder / "val.en")],
    }
    assert find_pair_files(folder, "en", "de")["train"] == [
        PairFiles(folder / "train.en", folder / "train.de")
    ]
    for name in ("test_2016", "test_2017"):
        for side in ("de", "en"):
            (folder / f"{name}.{side}").write_text("a")
    with pytest.raises(ValueError, match=r"the test sets test_2016, test_2017: choose one with --data\.test"):
        find_pair_files(folder, "de", "en")
    chosen = find_pair_files(folder, "de", "en", "test_2017")
    assert chosen["test"] == [PairFiles(folder / "test_2017.de", folder / "test_2017.en")]
    with pytest.raises(ValueError, match="no test set test_2018, only test_2016, test_2017"):
        find_pair_files(folder, "de", "en", "test_2018")
    unsplit = write(tmp_path / "b", one_de="a", one_en="a", two_de="a", two_en="a")
    assert [found.source.name for found in find_pair_files(unsplit, "de", "en")[""]] == ["one.de", "two.de"]
    tabbed = write(tmp_path / "c", train_tsv_gz="a\tb", dev_tsv="a\tb")
    assert find_pair_files(tabbed, "de", "en") == {
        "train": [PairFiles(tabbed / "train.tsv.gz")],
        "valid": [PairFiles(tabbed / "dev.tsv")],
    }
    assert find_pair_files(tabbed / "dev.tsv", "de", "en") == {"": [PairFiles(tabbed / "dev.tsv")]}


def test_files_that_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder .*nowhere"):
        find_pair_files(tmp_path / "nowhere", "de", "en")
    with pytest.raises(ValueError, match=r"holds no pairs: put files there whose names end in \.de and \.en"):
        find_pair_files(tmp_path, "de", "en")
    folder = write(tmp_path / "a", train_de="a")
    with pytest.raises(ValueError, match=r"train\.de has no partner train\.en beside it"):
        find_pair_files(folder, "de", "en")
    write(folder, train_en="a", val_en="a")
    with pytest.raises(ValueError, match=r"val\.en has no partner val\.de beside it"):
        find_pair_files(folder, "de", "en")
    write(folder, val_de="a", other_de="a", other_en="a")
    with pytest.raises(ValueError, match=r"other\.de is of none of the splits"):
        find_pair_files(folder, "de", "en")


@given(
    st.lists(st.integers(0, 30), min_size=4, max_size=60), st.sampled_from([0.0, 0.1, 0.3]), st.integers(0, 9)
)
def test_no_source_is_on_both_sides_of_a_split(sources: list[int], share: float, seed: int) -> None:
    pairs = [Pair(str(source), str(place)) for place, source in enumerate([*sources, -1, -2, -3])]
    parts = split_pairs(pairs, 0.1, share, seed)
    assert sorted(pair for part in parts.values() for pair in part) == sorted(pairs)
    kinds = [{pair.source for pair in part} for part in parts.values()]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert list(parts) == ["train", "valid", "test"][: 2 if share == 0 else 3]
    assert len(kinds[1]) == -(-len(set().union(*kinds)) // 10)
    for part in parts.values():
        places = [int(pair.target) for pair in part]
        assert places == sorted(places)


def test_too_few_to_split() -> None:
    with pytest.raises(ValueError, match="3 pairs with 2 different sources are too few to be split: nothing"):
        split_pairs([Pair("a", "b"), Pair("c", "d"), Pair("a", "e")], 0.1, 0.1)


def test_joined_pairs_hold_every_pair_once() -> None:
    pairs = [Pair(f"s{number}", f"t{number}") for number in range(200)]
    joined = join_pairs(pairs, 3, seed=1)
    assert sorted(word for pair in joined for word in pair.source.split(" ")) == sorted(
        p.source for p in pairs
    )
    assert all(pair.target == pair.source.replace("s", "t") for pair in joined)
    sizes = [len(pair.source.split(" ")) for pair in joined[:-1]]
    assert {sizes.count(size) > 15 for size in (1, 2, 3)} == {True}
    assert max(sizes) == 3
    assert sorted(join_pairs(pairs, 1)) == sorted(pairs)
    assert join_pairs(pairs, 3, seed=2) != joined
    with pytest.raises(ValueError, match="most is 0"):
        join_pairs(pairs, 0)
