"""A cell from a short expression: `lstm`, `gru(reset=before)`, `path/to/file.py:MyCell(alpha=0.3)`.

An expression is written as in Python, in the names of `CELLS` and `LAYERS`. The annotation of a field says how its
value is read: cells in cells (`stacked((lstm, self_attention(heads=2)))`), initialisers, scores and dropout are
expressions too; elsewhere a bare word stands for itself.
"""

import ast
import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from experiments.cell_protocol import check_cell, load_class
from experiments.harness.cell_files import cell_file, put_files, take_files
from models import CELLS, LAYERS, Cell, Dropout, VariationalDropout
from models.initializers import INITIALIZERS, Initializer
from models.layers.attention import SCORES, Score
from models.layers.layer import check_causal

UNIONS = (types.UnionType, typing.Union)
PLAIN: dict[Any, Any] = {int: int, float: (int, float), bool: bool, str: str}
# What may stand in an expression: its kind, the word for it, and the names by which it is known.
PARTS: dict[type, tuple[str, Mapping[str, Any]]] = {
    Cell: ("cell", CELLS | LAYERS),
    Initializer: ("initialiser", INITIALIZERS),
    Dropout: ("dropout", {"dropout": Dropout, "variational_dropout": VariationalDropout}),
    Score: ("score", SCORES),
}


def parse_cell(expression: str, hidden_size: int, *, memory: bool = False, steps: bool = True) -> Cell:
    """Returns the cell that an expression names, checked against the protocol.

    `hidden_size` serves every cell in it that has such a field and isn't given one. `memory` says that the cell
    will be given one to read, `steps` that it must go step by step.

    Raises ValueError, one sentence, for an unknown cell, file, class, option or value, for a class that breaks the
    protocol, for a cell that reads a memory where there is none, and for a layer that reads the future where steps
    are needed.
    """
    reader = Reader.of(expression, hidden_size)
    cell = reader.make(Cell, reader.root)
    if cell.reads_memory and not memory:
        raise ValueError(
            f"the cell {expression} attends to a memory, and nothing gives it one here: take a cell that reads its "
            "inputs alone"
        )
    if steps:
        check_causal(cell)
    check_cell(expression, cell)
    return cell


@dataclasses.dataclass(frozen=True)
class Reader:
    """Reads one expression: its syntax, the files that it names, and the size of its cells."""

    expression: str
    root: ast.expr
    files: tuple[str, ...]
    hidden_size: int = 0

    @classmethod
    def of(cls, expression: str, hidden_size: int = 0) -> "Reader":
        """Parses an expression. Raises ValueError if it isn't a name, with or without options."""
        text, files = take_files(expression)
        if not files and expression.endswith(".py"):
            raise ValueError(
                f"the cell {expression} names a file without a class: write {expression}:ClassName"
            )
        try:
            root = ast.parse(text.strip(), mode="eval").body
            ast.unparse(root)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # deep or endless expressions too
            root = ast.Constant(None)
        reader = cls(expression, root, files, hidden_size)
        if not reader.is_call(root):
            raise ValueError(
                f"can't read the cell {expression!r}: write a name, or a name with options as in "
                "lstm(forget_bias=0)"
            )
        return reader

    def show(self, node: ast.expr) -> str:
        """Returns the text of a part of the expression."""
        return self.expression if node is self.root else put_files(ast.unparse(node), self.files)

    def is_call(self, node: ast.expr) -> bool:
        """Tells whether a part of the expression is a name, of a file's class or not, with or without options."""
        named = node.func if isinstance(node, ast.Call) else node
        given = not isinstance(node, ast.Call) or all(keyword.arg for keyword in node.keywords)
        return given and (isinstance(named, ast.Name) or self.file(named) is not None)

    def file(self, node: ast.expr) -> Path | None:
        """Returns the file whose class a node names; None if it names none."""
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
            return None
        place = node.value.id.removeprefix("_file")
        return (
            cell_file(self.files[int(place)]) if place.isdecimal() and int(place) < len(self.files) else None
        )

    def call(self, node: ast.expr) -> tuple[Path | None, str, list[ast.expr], dict[str, ast.expr]]:
        """Splits `MyCell(1, x=2)` into its file, if any, "MyCell", [1] and {"x": 2}, the values still syntax."""
        named, positional, keywords = node, [], {}
        if isinstance(node, ast.Call):
            named, positional = node.func, node.args
            keywords = {str(keyword.arg): keyword.value for keyword in node.keywords}
            if len(keywords) < len(node.keywords):
                names = [str(keyword.arg) for keyword in node.keywords]
                twice = next(name for name in names if names.count(name) > 1)
                raise ValueError(f"{self.show(node)} gives {twice} twice: give it once")
        name = named.id if isinstance(named, ast.Name) else getattr(named, "attr", "")
        return self.file(named), name, positional, keywords

    def make(self, part: type, node: ast.expr) -> Any:
        """Makes the cell, initialiser, … that a node describes."""
        path, name, positional, keywords = self.call(node)
        word, names = PARTS[part]
        if path is not None and part is not Cell:
            raise ValueError(f"{self.show(node)} is no {word}: there are {', '.join(names)}")
        kind: Any = load_class(path, name) if path is not None else find(word, names, name)
        options = self.bind(node, kind, positional, keywords)
        if part is Cell and "hidden_size" in field_types(kind) and "hidden_size" not in options:
            options["hidden_size"] = self.hidden_size
        needed = [
            field.name
            for field in dataclasses.fields(kind)
            if field.init and field.default is field.default_factory is dataclasses.MISSING
        ]
        for option in needed:
            if option not in options:
                raise ValueError(f"{kind.__name__} needs a value for {option}: write {name}({option}=…)")
        try:
            return kind(**options)
        except Exception as error:  # a user's __post_init__ may raise anything
            text = str(error) or type(error).__name__
            raise ValueError(f"the {word} {self.show(node)} can't be made: {text}") from error

    def bind(
        self, node: ast.expr, kind: Any, positional: list[ast.expr], keywords: dict[str, ast.expr]
    ) -> dict[str, Any]:
        """Binds options to their names, their values read and checked against the annotations."""
        annotations = field_types(kind)
        if len(positional) > len(annotations):
            raise ValueError(
                f"{self.show(node)} has {len(positional)} values, but {kind.__name__} takes {len(annotations)}"
            )
        given = dict(zip(annotations, positional, strict=False))
        for name in keywords:
            if name in given:
                raise ValueError(f"{self.show(node)} gives {name} twice: by its place and by its name")
            if name not in annotations:
                near = difflib.get_close_matches(name, annotations, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(annotations) or 'none'}."
                raise ValueError(f"{kind.__name__} has no option {name!r}: {hint}")
        return {
            name: self.value(f"{kind.__name__}'s {name}", annotations[name], value)
            for name, value in (given | keywords).items()
        }

    def value(self, option: str, wanted: Any, node: ast.expr) -> Any:
        """Reads the value of an option, of the annotated type where that is a plain one or a part."""
        choices = typing.get_args(wanted)
        if typing.get_origin(wanted) in UNIONS and type(None) in choices:
            if isinstance(node, ast.Constant) and node.value is None:
                return None
            rest = [choice for choice in choices if choice is not type(None)]
            return self.value(option, rest[0], node) if len(rest) == 1 else self.literal(node)
        if part := part_of(wanted):
            return self.part(option, part, wanted, node)
        if typing.get_origin(wanted) is tuple and (part := part_of(choices[0])):
            if not isinstance(node, ast.Tuple | ast.List):
                several = f"in brackets, ({self.show(node)}, …)"
                raise ValueError(f"{option} must be {PARTS[part][0]}s {several}, but is {self.show(node)}")
            return tuple(self.part(option, part, choices[0], each) for each in node.elts)
        value = self.literal(node)
        plain = PLAIN.get(wanted)
        wrong = plain is not None and (
            not isinstance(value, plain) or (isinstance(value, bool) and wanted is not bool)
        )
        if typing.get_origin(wanted) is Literal:
            wrong = value not in choices
        if wrong:
            allowed = " or ".join(map(repr, choices)) or f"of type {wanted.__name__}"
            raise ValueError(f"{option} must be {allowed}, but is {self.show(node)}")
        return float(str(value)) if wanted is float else value

    def part(self, option: str, part: type, wanted: Any, node: ast.expr) -> Any:
        """Reads a cell, initialiser, … of the annotated class."""
        word, names = PARTS[part]
        if not self.is_call(node):
            raise ValueError(
                f"{option} must be a {word}, such as {next(iter(names))}, but is {self.show(node)}"
            )
        made = self.make(part, node)
        if not isinstance(made, wanted):
            raise ValueError(f"{option} must be a {wanted.__name__}, but is {self.show(node)}")
        return made

    def literal(self, node: ast.expr) -> Any:
        """Reads a literal's value; a bare word stands for itself."""
        if isinstance(node, ast.Name):
            return node.id
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError):
            raise ValueError(
                f"can't read the value {self.show(node)!r}: write a number, a word or a quoted text"
            ) from None
        return put_files(value, self.files) if isinstance(value, str) else value


def find(word: str, names: Mapping[str, Any], name: str) -> Any:
    """Returns the class of that name. Raises ValueError for an unknown one."""
    known = name if word == "cell" else name.lower()
    if known in names:
        return names[known]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    own = "" if near or word != "cell" else ", or path/to/file.py:ClassName."
    raise ValueError(f"unknown {word} {name!r}: {hint}{own}")


def part_of(wanted: Any) -> type | None:
    """Returns which of the parts of an expression an annotation asks for; None if it asks for another value."""
    if not isinstance(wanted, type) or typing.get_origin(wanted) is not None:
        return None
    return next((part for part in PARTS if issubclass(wanted, part)), None)


def field_types(kind: Any) -> dict[str, Any]:
    """Returns the options of a cell, initialiser, … and their annotated types."""
    try:
        hints = typing.get_type_hints(kind)
    except Exception as error:  # a name that only a type checker knows, say
        raise ValueError(f"the annotations of {kind.__name__}'s fields can't be read: {error}") from None
    return {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}


def label(expression: str) -> str:
    """Shortens an expression to what figures and tables call it, without folders and outer brackets: `elman
    recurrent=glorot`."""
    reader = Reader.of(expression)
    names = tuple(Path(name).name for name in reader.files)
    path, name, positional, keywords = reader.call(reader.root)
    shown = [*positional, *(ast.keyword(key.removesuffix("_init"), value) for key, value in keywords.items())]
    values = [put_files(ast.unparse(value), names) for value in shown]
    return " ".join([f"{path.name}:{name}" if path else name, ", ".join(values)]).strip()


def at_length(cell: str, length: int) -> str:
    """Puts the length in place of T in a cell's expression: `lstm(max_lag=T)` → `lstm(max_lag=100)`."""
    return re.sub(r"=\s*T\b", f"={length}", cell)
