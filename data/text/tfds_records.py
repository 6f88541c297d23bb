"""A TFDS data set of records of text, written and read without TensorFlow."""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

Record = Mapping[str, str]  # the texts of one example by the names of its fields


class LocalRecords(tfds.core.GeneratorBasedBuilder):
    """Splits of records in their order, each of the same fields of text.

    Read it by `as_data_source(split)`, a random-access source for Grain. Records are `{field: text}`, as UTF-8.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Fields of text."}  # noqa: RUF012  (TFDS's own form)

    def __init__(self, splits: Mapping[str, Sequence[Record]] | None = None, **options: Any) -> None:
        """Takes the `splits` to write, None for reading; `options` are those of every builder."""
        self._splits = splits or {}
        super().__init__(file_format="array_record", **options)

    def _info(self) -> tfds.core.DatasetInfo:
        first = next(iter(next(iter(self._splits.values()), [])), {})
        return tfds.core.DatasetInfo(
            builder=self,
            description="Local records of text.",
            features=tfds.features.FeaturesDict({field: tfds.features.Text() for field in first}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(records) for split, records in self._splits.items()}

    def _generate_examples(self, records: Sequence[Record]) -> Iterator[tuple[int, dict[str, str]]]:
        yield from ((number, dict(record)) for number, record in enumerate(records))


def write_records(folder: Path, splits: Mapping[str, Sequence[Record]]) -> None:
    """Writes the splits as a TFDS data set in `folder/local_records/1.0.0`."""
    hidden = io.StringIO()  # progress bars
    with contextlib.redirect_stderr(hidden), contextlib.redirect_stdout(hidden):
        LocalRecords(splits=splits, data_dir=str(folder)).download_and_prepare()


def read_records(folder: Path, names: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Reads the splits written by `write_records`."""
    builder: Any = tfds.builder_from_directory(str(folder / "local_records" / "1.0.0"))
    return {
        name: [
            {field: value.decode() for field, value in record.items()}
            for record in builder.as_data_source(name)
        ]
        for name in names
    }
