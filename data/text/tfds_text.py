"""Texts from the TFDS catalogue."""

import contextlib
import io
from collections.abc import Iterable
from typing import Any

from data.text.corpus import TextConfig, Texts

_SPLIT_NAMES = {"train": "train", "validation": "valid", "valid": "valid", "dev": "valid", "test": "test"}


def load_tfds_text(config: TextConfig) -> Texts:
    """Loads the splits of a TFDS data set by name, one example per line (line breaks within are kept).

    It is downloaded into TFDS's own folder, and read without TensorFlow. Raises ValueError if TFDS doesn't know the
    name, can't download it, or it has no such text feature.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.registered import DatasetNotFoundError

    name = str(config.tfds)
    try:
        # Hides progress bars and notebook hints.
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            builder: Any = tfds.builder(name, file_format="array_record")
            builder.download_and_prepare()
    except DatasetNotFoundError:
        raise ValueError(
            f"TFDS knows no data set {name!r}: see its catalogue, or give files with --data.dir"
        ) from None
    except Exception as error:  # TFDS doesn't document the errors of downloads
        first = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(
            f"TFDS couldn't fetch {name!r} ({type(error).__name__}: {first}): is there a network? "
            "Files go by --data.dir"
        ) from None
    features = dict(builder.info.features.items())
    feature = features.get(config.tfds_feature)
    if not isinstance(feature, tfds.features.Text):
        raise ValueError(
            f"{name!r} has no feature of text {config.tfds_feature!r}: choose one of "
            f"{', '.join(features)} with --data.tfds-feature"
        )
    splits: dict[str, str | bytes] = {}
    for split in builder.info.splits:
        if split in _SPLIT_NAMES:
            examples: Iterable[Any] = builder.as_data_source(split)
            lines = [_text(example[config.tfds_feature]) for example in examples]
            joined = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
            splits[_SPLIT_NAMES[split]] = joined.encode() if config.unit == "byte" else joined
    if "train" not in splits:
        raise ValueError(
            f"{name!r} has no training split, only {', '.join(builder.info.splits)}: choose another"
        )
    origin = {f"{builder.info.full_name}": str(builder.info.splits["train"].num_examples)}
    return Texts(splits, origin, {split: f"{name} ({split})" for split in splits})


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
