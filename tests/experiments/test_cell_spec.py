"""A cell from an expression: what can be said, and the one sentence for whatever can't."""

from dataclasses import dataclass
from pathlib import Path

import jax
import pytest

from experiments.cell_spec import label, parse_cell
from experiments.harness.cell_files import cell_files, take_files
from models import (
    GRU,
    LSTM,
    Additive,
    AttentionCell,
    BasicGRU,
    Dot,
    Dropout,
    Elman,
    Gaussian,
    General,
    Glorot,
    Identity,
    Orthogonal,
    Residual,
    SelfAttention,
    Stacked,
    Transformer,
)
from models.layers.layer import is_causal
from tests.experiments.command import LEAKY


@pytest.mark.parametrize(
    ("expression", "cell"),
    [
        ("lstm", LSTM(5)),
        ("lstm()", LSTM(5)),
        ("basic_gru", BasicGRU(5)),
        ("lstm(forget_bias=0)", LSTM(5, forget_bias=0.0)),
        ("lstm(forget_bias=-1.5)", LSTM(5, forget_bias=-1.5)),
        ("gru(reset=before)", GRU(5, reset="before")),
        ("gru(reset='before')", GRU(5, reset="before")),
        ("gru( reset = after )", GRU(5)),
        ("elman(activation=relu)", Elman(5, activation="relu")),
        ("elman(8)", Elman(8)),
        ("elman(8, relu)", Elman(8, activation="relu")),
        ("elman(hidden_size=8)", Elman(8)),
        ("elman(recurrent_init=glorot)", Elman(5, recurrent_init=Glorot())),
        ("elman(recurrent_init=Identity)", Elman(5, recurrent_init=Identity())),
        ("elman(recurrent_init=gaussian(gain=1.5))", Elman(5, recurrent_init=Gaussian(1.5))),
        (
            "lstm(kernel_init=gaussian(2), recurrent_init=orthogonal(gain=0.9))",
            LSTM(5, kernel_init=Gaussian(2.0), recurrent_init=Orthogonal(0.9)),
        ),
        ("attention_cell(cell=gru)", AttentionCell(GRU(5))),
        ("attention_cell(lstm(forget_bias=0), dot)", AttentionCell(LSTM(5, 0.0), Dot())),
        (
            "attention_cell(cell=gru(8, reset=before), score=additive(size=32), feed=False, memory_size=3)",
            AttentionCell(GRU(8, "before"), Additive(32), False, 3),
        ),
        (
            "attention_cell(stacked((elman, gru)), general(kernel_init=orthogonal), memory_size=7)",
            AttentionCell(Stacked((Elman(5), GRU(5))), General(Orthogonal()), memory_size=7),
        ),
        ("attention_cell(gru, memory_size=None)", AttentionCell(GRU(5))),
        (
            "stacked((lstm, residual(self_attention(context=9))), dropout=dropout(0.1))",
            Stacked((LSTM(5), Residual(SelfAttention(5, context=9))), dropout=Dropout(0.1)),
        ),
        ("stacked(layers=[gru], connection=dense, dropout=None)", Stacked((GRU(5),), "dense")),
        ("transformer(1, 1, 1, position=learned, context=1)", Transformer(1, 1, 1, 1, "learned")),
        ("residual(self_attention)", Residual(SelfAttention(5))),
        ("self_attention(heads=5, causal=False)", SelfAttention(5, 5, causal=False)),
    ],
)
def test_built_in(expression: str, cell: object) -> None:
    """Cells in cells too: each of them has the size, unless it is given another."""
    assert parse_cell(expression, hidden_size=5, memory=True, steps=False) == cell


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded twice it is one cell, to `jit` too; named relatively it is the same."""
    path = write(tmp_path, LEAKY)
    cell, again = (parse_cell(f"{path}:Leaky(alpha=0.25)", 4) for _ in range(2))
    assert cell == again
    assert hash(cell) == hash(again)
    assert type(cell).__name__ == "Leaky"
    assert vars(cell) == {"hidden_size": 4, "alpha": 0.25}
    assert vars(parse_cell(f"{path}:Leaky(7, 0.1)", 4)) == {"hidden_size": 7, "alpha": 0.1}
    assert parse_cell(f"{path}:Leaky", 4) != cell
    monkeypatch.chdir(tmp_path)
    assert parse_cell("mine.py:Leaky(alpha=0.25)", 4) == cell
    # Another file of the same name is another cell.
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", LEAKY)
    assert parse_cell(f"{other}:Leaky(alpha=0.25)", 4) != cell


AROUND = """
from dataclasses import dataclass

from models import Cell, LSTM
from models.cells.wrapper import CellWrapper


@dataclass(frozen=True)
class Around(CellWrapper):
    times: int = 1
    second: Cell | None = None


@dataclass(frozen=True)
class OfLSTM(CellWrapper):
    cell: LSTM
"""


def test_cells_in_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of a file takes cells, by name or place, built in or of files, and is one itself; every file counts
    where a run records those that it executes."""
    write(tmp_path, AROUND, "around.py")
    write(tmp_path, LEAKY)
    monkeypatch.chdir(tmp_path)

    def shown(expression: str) -> str:
        return str(parse_cell(expression, 4))

    lstm = str(LSTM(4, forget_bias=0.0))
    assert shown("around.py:Around(cell=lstm(forget_bias=0))") == f"Around(cell={lstm}, times=1, second=None)"
    twice = "around.py:Around(around.py:Around(./mine.py:Leaky(alpha=0.25)), 2, second=lstm(forget_bias=0))"
    inner = "Around(cell=Leaky(hidden_size=4, alpha=0.25), times=1, second=None)"
    assert shown(twice) == f"Around(cell={inner}, times=2, second={lstm})"
    assert shown("stacked((mine.py:Leaky, around.py:Around(gru)))").startswith("Stacked(layers=(Leaky(")
    assert label(twice) == (
        "around.py:Around around.py:Around(mine.py:Leaky(alpha=0.25)), 2, second=lstm(forget_bias=0)"
    )
    assert take_files(twice)[1] == ("around.py", "around.py", "./mine.py")
    assert set(cell_files({"config": {"cell": twice, "other": "x"}})) == {"around.py", "./mine.py"}
    assert set(cell_files({"config": {"cells": ["stacked((lstm, mine.py:Leaky))"]}})) == {"mine.py"}
    assert "OfLSTM's cell must be a LSTM, but is gru" in sentence("around.py:OfLSTM(cell=gru)")
    assert "mine.py:Leaky() is no initialiser" in sentence("lstm(kernel_init=mine.py:Leaky())")
    assert "there is no cell file nowhere.py" in sentence("around.py:Around(nowhere.py:Leaky)")


def test_size_of_its_own(tmp_path: Path) -> None:
    """A cell without a field hidden_size needs none."""
    path = write(
        tmp_path, LEAKY.replace("    hidden_size: int\n", "").replace("self.hidden_size", "3"), "three.py"
    )
    cell = parse_cell(f"{path}:Leaky", 64)
    assert cell.initial_state(cell.init(jax.random.key(0), 2)).shape == (3,)


def test_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a cell again traces nothing."""
    cell = parse_cell("lstm(forget_bias=0.375)", 4)
    monkeypatch.setattr(jax, "eval_shape", None)
    assert parse_cell("lstm(forget_bias=0.375)", 4) == cell


def sentence(expression: str) -> str:
    """Returns what is said of an expression that is wrong."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers match)
        parse_cell(expression, hidden_size=4)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("lsmt", "unknown cell 'lsmt': did you mean lstm?"),
        ("zzz", "unknown cell 'zzz': there are elman, "),
        ("lstm(forget_bais=0)", "LSTM has no option 'forget_bais': did you mean forget_bias?"),
        ("gru(zzz=0)", "GRU has no option 'zzz': it has hidden_size, "),
        ("lstm(forget_bias=big)", "LSTM's forget_bias must be of type float, but is big"),
        ("lstm(forget_bias=True)", "LSTM's forget_bias must be of type float, but is True"),
        ("lstm(forget_bias=None)", "LSTM's forget_bias must be of type float, but is None"),
        ("elman(hidden_size=2.5)", "Elman's hidden_size must be of type int, but is 2.5"),
        ("gru(reset=never)", "GRU's reset must be 'before' or 'after', but is never"),
        ("elman(0)", "hidden_size must be a whole number of at least 1, but is 0"),
        ("elman(activation=softmax)", "unknown activation 'softmax': choose one of tanh"),
        ("elman(recurrent_init=glorott)", "unknown initialiser 'glorott': did you mean glorot?"),
        ("elman(recurrent_init=gaussian(gian=1))", "Gaussian has no option 'gian': did you mean gain?"),
        ("elman(recurrent_init=gaussian(gain=big))", "Gaussian's gain must be of type float, but is big"),
        ("elman(recurrent_init=glorot(2))", "glorot(2) has 1 values, but Glorot takes 0"),
        ("elman(1, tanh, glorot, glorot, 5)", "has 5 values, but Elman takes 4"),
        ("elman(8, hidden_size=9)", "gives hidden_size twice"),
        ("lstm(forget_bias=1+x)", "can't read the value '1 + x'"),
        ("lstm(forget_bias={[]: 1})", "can't read the value"),
        ("lstm(", "can't read the cell 'lstm('"),
        ("lstm(**x)", "can't read the cell"),
        ("", "can't read the cell ''"),
        ("a.b", "can't read the cell 'a.b'"),
        ("attention_cell", "AttentionCell needs a value for cell: write attention_cell(cell=…)"),
        ("attention_cell(cell=lsmt)", "unknown cell 'lsmt': did you mean lstm?"),
        ("attention_cell(cell=3)", "AttentionCell's cell must be a cell, such as elman, but is 3"),
        ("attention_cell(cell=None)", "AttentionCell's cell must be a cell, such as elman, but is None"),
        ("attention_cell(gru(zzz=1))", "GRU has no option 'zzz'"),
        ("attention_cell(elman(0))", "the cell elman(0) can't be made: hidden_size must be a whole number"),
        ("attention_cell(gru, aditive)", "unknown score 'aditive': did you mean additive?"),
        ("attention_cell(gru, gru)", "unknown score 'gru': there are dot, scaled_dot, general, additive"),
        ("attention_cell(gru, additive(size=big))", "Additive's size must be of type int, but is big"),
        ("attention_cell(batch_norm_lstm)", "BatchNormLSTM couples the examples of a batch"),
        ("attention_cell(gru)", "attends to a memory, and nothing gives it one here"),
        ("transformer(memory_size=8)", "attends to a memory, and nothing gives it one here"),
        ("stacked(lstm)", "Stacked's layers must be cells in brackets, (lstm, …), but is lstm"),
        ("stacked(())", "a stack is a tuple of at least one layer"),
        ("stacked((lstm, 3))", "Stacked's layers must be a cell, such as elman, but is 3"),
        (
            "stacked((lstm, gru), dropout=0.1)",
            "Stacked's dropout must be a dropout, such as dropout, but is 0.1",
        ),
        (
            "stacked((residual(gru(3)), residual(gru(4))))",
            "a residual connection needs equal input and output",
        ),
        ("transformer(heads=2, heads=4)", "gives heads twice: give it once"),
        ("lstm(forget_bias=1" + "+1j" * 3000 + ")", "can't read the cell"),
        ("lstm(forget_bias=0x" + "f" * 5000 + ")", "can't read the cell"),
        ("transformer(heads=3)", "the heads divide the size among them, but 3 don't divide 4"),
        ("transformer(heads=4)", "a head has 1 numbers, an odd number"),
        ("transformer(context=0)", "context must be a whole number of at least 1, but is 0"),
        ("transformer(position=late)", "Transformer's position must be 'none' or 'sinusoidal' or"),
        ("transformer(feed_forward=wide)", "Transformer's feed_forward must be of type int, but is wide"),
        ("nowhere.py:Mine", "there is no cell file nowhere.py"),
        ("nowhere.py", "names a file without a class: write nowhere.py:ClassName"),
    ],
)
def test_wrong_expression(expression: str, said: str) -> None:
    assert said in sentence(expression)
    assert "\n" not in sentence(expression)


ZEROS = '        return jnp.zeros((*batch_shape, self.hidden_size), params["kernel"].dtype)'
FIELDS = "    alpha: float = 0.5\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("class Leaky(", "class Leeky(", "has no class Leaky: it defines Leeky"),
        ("class Leaky(Cell)", "class Leaky", ":Leaky is not a cell: derive it from models.Cell"),
        ("@dataclass(frozen=True)", "", ":Leaky is not a dataclass: put @dataclass(frozen=True) above it"),
        ("def step", "def stride", ":Leaky has no method step: a cell writes init, initial_state, step"),
        ("alpha: float", "alpha: 'flaot'", "the annotations of Leaky's fields can't be read: name 'flaot'"),
        (
            FIELDS,
            FIELDS + "    def __post_init__(self):\n        assert 0 > 1, 'alpha is odd'\n",
            "alpha is odd",
        ),
        (FIELDS, FIELDS + "    def __post_init__(self):\n        {}[3]\n", ":Leaky can't be made: 3"),
        (
            FIELDS,
            "    alpha: list = dataclasses.field(default_factory=list)\n",
            "whose fields are numbers, strings, functions or tuples",
        ),
        (
            "w, r = jax.random.split(key)",
            "w, r = 1 / 0, 2",
            "init fails: ZeroDivisionError: division by zero",
        ),
        (
            "(*batch_shape, self.hidden_size)",
            "(self.hidden_size,)",
            "initial_state must make leaves that begin",
        ),
        (ZEROS, "        return params['cernel']", "initial_state fails: KeyError: 'cernel'"),
        (
            "return h, h",
            "return h[..., :2], h",
            "step must return a state of the form it was given: leaf h is",
        ),
        ("return h, h", "return h.astype(int), h", "is int32[4], but float32[4] is wanted"),
        ("return h, h", "return (h, h), h", "step must return a state of the form it was given: it is"),
        ("return h, h", "return h", "step must return two things, the new state and the output"),
        ("return h, h", "return h, {'y': h}", "step's output must be one array [*batch, H]"),
        ("return h, h", "return h, h.sum()", "step's output must be one array [*batch, H]"),
        (
            "def step",
            "def drive(self, weights, x):\n        return x.y\n\n    def step",
            "drive fails: AttributeError",
        ),
        ('drive @ weights["kernel"]', "drive @ weights.kernel", "step fails: AttributeError: 'dict' object"),
        ("import jax\n", "import jaxx\n", "can't be loaded: ModuleNotFoundError: No module named 'jaxx'"),
        ("import jax\n", "import sys; sys.exit()\n", "can't be loaded: SystemExit"),
    ],
)
def test_wrong_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    """A cell with one fault: the sentence names the file or cell, the method and the fault."""
    assert old in LEAKY
    path = write(tmp_path, "import dataclasses\n" + LEAKY.replace(old, new))
    assert said in sentence(f"{path}:Leaky")
    assert "mine.py" in sentence(f"{path}:Leaky") or "Leaky" in said
    assert "\n" not in sentence(f"{path}:Leaky")


OWN_LAYER = """
from dataclasses import dataclass

from models.layers.pointwise import Pointwise


@dataclass(frozen=True)
class Same(Pointwise):
    def init(self, key, input_size):
        return {}

    def apply(self, params, xs):
        return xs

    def unroll(self, params, xs, state=None, **options):
        return (), xs
"""


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("(), xs.y", ":Same: unroll fails: AttributeError: "),
        ("(), {'y': xs}", ":Same: unroll's outputs must be one array [T, *batch, H] for a model"),
        ("(), xs[-1]", ":Same: unroll's outputs must be one array [T, *batch, H] for a model"),
        ("(), xs", ""),
    ],
)
def test_own_layer(tmp_path: Path, made: str, said: str) -> None:
    """A fault of a layer's unroll is said of unroll, not of its step, which is right."""
    path = write(tmp_path, OWN_LAYER.replace("return (), xs", f"return {made}"), "layer.py")
    if said:
        assert said in sentence(f"{path}:Same")
    else:
        assert is_causal(parse_cell(f"{path}:Same", 4))


def test_syntax_error_names_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path, LEAKY.replace("def init(self, key, input_size):", "def init(self, key, input_size)")
    )
    line = 1 + LEAKY[: LEAKY.index("def init")].count("\n")
    assert f"{path}, line {line} can't be loaded: SyntaxError: expected ':'" in sentence(f"{path}:Leaky")


def test_mended_file_is_read_again(tmp_path: Path) -> None:
    """A file that couldn't be loaded leaves nothing behind."""
    path = write(tmp_path, "x = ")
    sentence(f"{path}:Leaky")
    path.write_text(LEAKY + "\n# longer, so that no cache of the bytes is taken for it")
    assert vars(parse_cell(f"{path}:Leaky", 4))["alpha"] == 0.5


def test_option_of_another_kind(tmp_path: Path) -> None:
    """An inherited cell keeps its parent's options, and takes strings and booleans."""

    @dataclass(frozen=True)
    class Wanted(Elman):
        name: str = ""
        on: bool = False

    path = write(
        tmp_path,
        "from dataclasses import dataclass\nfrom models import Elman\n\n@dataclass(frozen=True)\n"
        "class Wanted(Elman):\n    name: str = ''\n    on: bool = False\n",
    )
    cell = parse_cell(f"{path}:Wanted(name='a b', on=True, recurrent_init=identity)", 4)
    assert vars(cell) == vars(Wanted(4, name="a b", on=True, recurrent_init=Identity()))
    assert "on must be of type bool, but is 1" in sentence(f"{path}:Wanted(on=1)")
    assert "name must be of type str, but is 1" in sentence(f"{path}:Wanted(name=1)")


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("lstm", "lstm"),
        ("lstm()", "lstm"),
        ("gru(reset=before)", "gru reset=before"),
        ("elman(8, activation=relu)", "elman 8, activation=relu"),
        ("elman(recurrent_init=gaussian(gain=1.5))", "elman recurrent=gaussian(gain=1.5)"),
        ("a/b/mine.py:Leaky(alpha=0.3)", "mine.py:Leaky alpha=0.3"),
        ("a b/(c)=d/mine.py:Leaky", "mine.py:Leaky"),
        (
            "attention_cell(cell=gru, score=additive(size=32))",
            "attention_cell cell=gru, score=additive(size=32)",
        ),
        ("stacked((lstm, a/mine.py:Leaky(alpha=1)))", "stacked (lstm, mine.py:Leaky(alpha=1))"),
    ],
)
def test_label(expression: str, shown: str) -> None:
    assert label(expression) == shown
