"""Texts by their name in TFDS: a data set registered as those of the catalogue are, and read by the same door."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data import TextConfig, load_corpus


class SmallCatalogueText(tfds.core.GeneratorBasedBuilder):
    """Three lines to train on and one to validate."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {"text": tfds.features.Text(), "label": tfds.features.Scalar(np.int64)}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._lines("a b é\n", "b a", "a b"), "validation": self._lines("b a a")}

    def _generate_examples(self) -> Any: ...

    def _lines(self, *lines: str) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(lines):
            yield number, {"text": line, "label": 0}


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS's folder and our cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfds, "builder", functools.partial(tfds.builder, data_dir=str(tmp_path / "tfds")))


def test_a_name_of_the_catalogue() -> None:
    config = TextConfig(tfds="small_catalogue_text", min_count=1)
    corpus = load_corpus(config)
    assert corpus.tokenizer.decode(corpus.split("train")) == "a b é\nb a\na b\n"
    assert corpus.tokenizer.decode(corpus.split("valid")) == "b a a\n"
    assert list(corpus.origin) == ["small_catalogue_text/1.0.0"]
    again = load_corpus(config)
    assert again.sizes == corpus.sizes
    assert again.tokenizer == corpus.tokenizer


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r"TFDS knows no data set 'no_such_text': see its catalogue"):
        load_corpus(TextConfig(tfds="no_such_text"))
    with pytest.raises(ValueError, match=r"has no feature of text 'label': choose one of text, label with"):
        load_corpus(TextConfig(tfds="small_catalogue_text", tfds_feature="label"))
