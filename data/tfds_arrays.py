"""A TFDS data set of records of arrays, written and read without TensorFlow."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data.text.cache_folder import Written

Record = Mapping[str, np.ndarray]  # arrays `[n, ...]`, of the same types in all records
Splits = Mapping[str, Sequence[Record]]


class LocalArrays(tfds.core.GeneratorBasedBuilder):
    """Splits of local data, each a sequence of records of arrays, in their order.

    Read it by `as_data_source(split)`, a random-access source for Grain.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Records of arrays."}  # noqa: RUF012  (TFDS's own form)

    def __init__(self, splits: Splits | None = None, **options: Any) -> None:
        """Takes the `splits` to write, None for reading; `options` are those of every builder."""
        self._splits = splits or {}
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        first = next(iter(next(iter(self._splits.values()), [])), {})
        arrays = {
            name: tfds.features.Tensor(shape=(None, *array.shape[1:]), dtype=array.dtype)
            for name, array in first.items()
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Local data as arrays.",
            features=tfds.features.FeaturesDict(arrays),
            disable_shuffling=True,  # the order is that of the files
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(records) for split, records in self._splits.items()}

    def _generate_examples(self, records: Sequence[Record]) -> Iterator[tuple[int, Record]]:
        yield from enumerate(records)


def write_arrays(folder: Path, splits: Splits) -> Written:
    """Writes the splits as a TFDS data set in `folder/local_arrays/1.0.0`: a `write` of `prepare_once`."""
    hidden = io.StringIO()  # progress bars
    with contextlib.redirect_stderr(hidden), contextlib.redirect_stdout(hidden):
        LocalArrays(splits, data_dir=str(folder)).download_and_prepare()
    return {}, {"splits": list(splits)}


def read_arrays(folder: Path, details: Mapping[str, Any]) -> dict[str, list[dict[str, np.ndarray]]]:
    """Reads the splits written by `write_arrays`: a `read` of `prepare_once`."""
    builder: Any = tfds.builder_from_directory(str(folder / "local_arrays" / "1.0.0"))
    return {
        split: [
            {name: np.asarray(array) for name, array in record.items()}
            for record in builder.as_data_source(split)
        ]
        for split in details["splits"]
    }
