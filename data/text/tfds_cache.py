"""A TFDS data set of token ids, written and read without TensorFlow."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int32

BLOCK = 65_536  # tokens per record


class LocalText(tfds.core.GeneratorBasedBuilder):
    """Splits of a text, each a sequence of records of 65,536 token ids (the last one fewer), in the text's order.

    Read it by `as_data_source(split)`, a random-access source for Grain. Records are `{"ids": [T]}` int32.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Blocks of token numbers."}  # noqa: RUF012  (TFDS's own form)

    def __init__(self, splits: Mapping[str, Int32[np.ndarray, "_"]] | None = None, **options: Any) -> None:
        """Takes the `splits` to write, None for reading; `options` are those of every builder."""
        self._splits = splits or {}
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        ids = tfds.features.Tensor(shape=(None,), dtype=np.int32)
        return tfds.core.DatasetInfo(
            builder=self,
            description="A local text as token numbers.",
            features=tfds.features.FeaturesDict({"ids": ids}),
            disable_shuffling=True,  # the order is the text's
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(ids) for split, ids in self._splits.items()}

    def _generate_examples(self, ids: Int32[np.ndarray, "_"]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        for number, start in enumerate(range(0, len(ids), BLOCK)):
            yield number, {"ids": ids[start : start + BLOCK]}


def write_splits(folder: Path, splits: Mapping[str, Int32[np.ndarray, "_"]]) -> None:
    """Writes the splits as a TFDS data set in `folder/local_text/1.0.0`."""
    hidden = io.StringIO()  # progress bars
    with contextlib.redirect_stderr(hidden), contextlib.redirect_stdout(hidden):
        LocalText(splits=splits, data_dir=str(folder)).download_and_prepare()


def read_splits(folder: Path, names: list[str]) -> dict[str, Int32[np.ndarray, "_"]]:
    """Reads the splits written by `write_splits`, each as one array [T]."""
    builder: Any = LocalText(data_dir=str(folder))
    return {
        name: np.concatenate([record["ids"] for record in builder.as_data_source(name)]) for name in names
    }
