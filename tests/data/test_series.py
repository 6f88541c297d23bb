"""Columns of CSV files that the tests write: values, gaps, missing rows, mistakes; sequences cut out of a
series."""

from pathlib import Path

import numpy as np
import pytest

from data import SeriesConfig, collate_gaps, load_series, next_values
from data.series import read_columns

NAN = np.nan


def write(folder: Path, text: str) -> Path:
    path = folder / "my.csv"
    path.write_text(text)
    return path


def test_columns_by_name_with_gaps(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'day, "a b" ,c\n1,2.5,x\n2,,y\n3,NA,z\n\n4,-1e3,"q,r"\n'.replace(', "a b" ,', ',"a b",')
    )
    np.testing.assert_array_equal(read_columns(path, ["a b"]), [[2.5], [NAN], [NAN], [-1000]])
    np.testing.assert_array_equal(read_columns(path, ["day", "a b"])[0], [1, 2.5])


@pytest.mark.parametrize(
    "times",
    [
        ("10", "20", "30", "60"),
        ("2024-02-28", "2024-02-29", "2024-03-01", "2024-03-04"),
        ("2024-01-01T23:00", "2024-01-01T23:30", "2024-01-02T00:00", "2024-01-02T01:30"),
    ],
)
def test_missing_rows_are_gaps(tmp_path: Path, times: tuple[str, ...]) -> None:
    path = write(tmp_path, "t,v\n" + "".join(f"{time},{i}\n" for i, time in enumerate(times)))
    np.testing.assert_array_equal(read_columns(path, ["v"], "t")[:, 0], [0, 1, 2, NAN, NAN, 3])


@pytest.mark.parametrize(
    ("text", "columns", "time", "said"),
    [
        ("a,b\n1,2\n", ("c",), None, "has no column 'c': it has a, b"),
        ("a,a\n1,2\n", ("a",), None, "has several columns 'a'"),
        ("a,b\n1,2\n1\n", ("a",), None, "line 3 of .* has 1 entries, but there are 2 columns"),
        ("a,b\n1,2\nred,2\n", ("a",), None, "line 3 of .* has 'red' in the column a, which is no number"),
        ("a,b\n1,inf\n", ("b",), None, "line 2 of .* has 'inf' in the column b, which is no number"),
        ("a,b\n", ("b",), None, "has no rows below its line of names"),
        ("a,b\n1,2\nsoon,3\n", ("b",), "a", "line 3 of .* has 'soon' in the column a, which is neither"),
        ("a,b\n1,2\n1,3\n", ("b",), "a", "line 3 of .* has a time in the column a that isn't after"),
        ("a,b\n1,2\n2,3\n3.5,1\n", ("b",), "a", r"line 4 of .* comes 1\.5 times the shortest step"),
        ("a,b\n1,2\n2,3\n3000,1\n", ("b",), "a", "would have 3,000 rows, a gap for each"),
    ],
)
def test_faults_of_files(
    tmp_path: Path, text: str, columns: tuple[str, ...], time: str | None, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        read_columns(write(tmp_path, text), columns, time)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (SeriesConfig(file=Path("x.csv")), "--data.columns is empty"),
        (SeriesConfig(columns=("a",)), "--data.columns names a column of a file"),
        (SeriesConfig(time="a"), "--data.time names a column of a file"),
        (SeriesConfig(length=99), "--data.length must be at least 100"),
        (SeriesConfig(valid_share=0.5, test_share=0.5), "leave something to train on"),
        (SeriesConfig(Path("x.csv"), ("a", "a")), "names one twice: a a"),
    ],
)
def test_options_that_do_not_fit(config: SeriesConfig, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_series(config, "lorenz", 0)


def test_parts_by_time_and_units_of_training(tmp_path: Path) -> None:
    """The last fifth is tested; mean and deviation are of the training part alone, without its gaps."""
    values = np.arange(20.0) ** 2
    values[3] = NAN
    text = "v\n" + "".join("?\n" if np.isnan(v) else f"{v}\n" for v in values)
    series = load_series(SeriesConfig(write(tmp_path, text), ("v",)), "my", 0)
    assert series.ends == (14, 16)
    kept = values[:14][np.isfinite(values[:14])]
    np.testing.assert_allclose(series.standardised[:, 0], (values - kept.mean()) / kept.std(), rtol=1e-6)
    with pytest.raises(ValueError, match="has fewer than two values of v"):
        load_series(SeriesConfig(write(tmp_path, text), ("v",), valid_share=0.05), "my", 0)


def test_sequences_and_their_gaps() -> None:
    """A target is the value after; a step without an input is masked, a target in a gap stays NaN."""
    series = np.arange(9, dtype=np.float32)[:, None] * [1, 10]
    series[4, 1] = NAN
    examples = next_values(series, 1, 9, length=4, stride=3)
    assert len(examples) == 2
    batch = collate_gaps(examples, 4)
    np.testing.assert_array_equal(batch.targets[:, 0], series[2:6])
    np.testing.assert_array_equal(batch.targets[:, 1], series[5:9])
    np.testing.assert_array_equal(batch.mask.T, [[True, True, True, False], [False, True, True, True]])
    assert np.isfinite(batch.inputs).all()
    np.testing.assert_array_equal(batch.inputs[1:, 1], series[5:8])
    with pytest.raises(ValueError, match="has 4 values, too few for a sequence of 4"):
        next_values(series, 0, 4, length=4, stride=1)


def test_generated_series() -> None:
    series = load_series(SeriesConfig(length=100), "lorenz", 0)
    assert (series.values.shape, series.names, series.ends) == ((100, 3), ("x", "y", "z"), (70, 80))
    assert load_series(SeriesConfig(length=100), "mackey_glass", 0).values.shape == (100, 1)
