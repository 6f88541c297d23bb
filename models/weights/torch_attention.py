"""Conversion of attention and Transformers from and to PyTorch's layout."""

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from models.cell import ACTIVATIONS, Array, Cell, Params
from models.checks import check_params
from models.layers.cross_attention import CrossAttention
from models.layers.pointwise import FeedForward, Norm, Projection
from models.layers.residual import Residual
from models.layers.self_attention import SelfAttention
from models.layers.stacked import Stacked
from models.layers.transformer import Transformer
from models.layers.wrapper import LayerWrapper
from models.weights.torch import as_array, beginning, torch_entries

LETTERS: dict[type[Cell], str] = {
    SelfAttention: "s",
    CrossAttention: "c",
    FeedForward: "f",
    Norm: "n",
    Projection: "p",
}
ATTENTIONS: dict[type[Cell], str] = {SelfAttention: "self_attn.", CrossAttention: "multihead_attn."}
PRE_NORM, POST_NORM = r"(\(ns\)(\(nc\))?\(nf\))+", r"(\(s\)n(\(c\)n)?\(f\)n)+"
"""Blocks as `spell` writes them."""


class Part(NamedTuple):
    """A layer with parameters, the start of its names in PyTorch, the size N of its inputs, and those of PyTorch's
    attributes that must equal something, each with its value."""

    layer: Cell
    start: str
    size: int
    settings: dict[str, Any]


class Same(NamedTuple):
    """The same numbers here and in PyTorch: the entries `ours` side by side are the entries `theirs` below one
    another, transposed. `rows` are the rows of each of theirs, `columns` their columns, none for vectors."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...] = ()


def from_torch_attention(layer: Cell, source: Any, *, prefix: str = "") -> Params:
    """Converts the parameters of a module of PyTorch to those of `layer`:

        nn.MultiheadAttention         SelfAttention; CrossAttention, with kdim = vdim = memory_size
        nn.TransformerEncoderLayer    Stacked(transformer_block(…)), with norm="post", or "pre" for norm_first
        nn.TransformerDecoderLayer    the same with a memory_size
        nn.TransformerEncoder         Stacked of several blocks, with a last Norm() or without; or a Transformer
                                      with position="none", which ends with a norm if norm="pre"

    and of `nn.TransformerDecoder`. `source` and `prefix` as for `from_torch`. PyTorch keeps the heads, the order of
    the norms, their ε and the activation beside the weights: they are compared if `source` is the module itself.
    Masks and dropout are never compared.

    Raises ValueError for a layer without a counterpart in PyTorch, another number of blocks, `bias=False`,
    `add_bias_kv=True`, a missing entry, and sizes or settings that don't fit.
    """
    parts, entries = torch_parts(layer), torch_entries(source, prefix)
    kind, held = type(layer).__name__, {name.split(".")[1] for name in entries if name.startswith("layers.")}
    blocks = {part.start.split(".")[1] for part in parts if part.start.startswith("layers.")}
    if held and len(held) != len(blocks):
        raise ValueError(f"the state_dict has {len(held)} blocks, but this {kind} has {len(blocks)}")
    if not held:
        parts = without_number(parts)
    params = assemble(layer, iter([part_from_torch(part, entries) for part in parts]))
    wanted = {part.start + name for part in parts for same in correspondence(part) for name in same.theirs}
    if more := [name for name in entries if name not in wanted]:
        hint = ": add_bias_kv=True has no counterpart here" if more[0].endswith(("bias_k", "bias_v")) else ""
        raise ValueError(f"the state_dict has {', '.join(more)}, which this {kind} doesn't take{hint}")
    if hasattr(source, "get_submodule"):
        check_settings(parts, source.get_submodule(prefix.removesuffix(".")))
    return params


def to_torch_attention(layer: Cell, params: Params, *, prefix: str = "") -> dict[str, np.ndarray]:
    """Inverts `from_torch_attention`, as NumPy arrays under PyTorch's names, for `load_torch`; all begin with
    `prefix`. A `Stacked` of one block without a norm at its end has the names of an encoder or decoder layer.

    Raises ValueError for a layer without a counterpart in PyTorch, and for parameters that don't fit the layer.
    """
    parts, arrays = torch_parts(layer), dict[str, np.ndarray]()
    check_params(layer, params, jnp.zeros((1, parts[0].size)))
    if isinstance(layer, Stacked) and all(part.start.startswith("layers.0.") for part in parts):
        parts = without_number(parts)
    for part, own in zip(parts, disassemble(layer, params), strict=True):
        for same in correspondence(part):
            whole = np.concatenate([np.asarray(leaf_at(own, name)) for name in same.ours], axis=-1).T
            if whole.shape != (wanted := (sum(same.rows), *same.columns)):
                raise ValueError(
                    f"{part.layer} reads inputs of another size than its own, which PyTorch has no counterpart of: "
                    f"{same.ours[0]} gives {list(whole.shape)}, but PyTorch takes {list(wanted)}"
                )
            pieces = np.split(whole, np.cumsum(same.rows)[:-1])
            for name, array in zip(same.theirs, pieces, strict=True):
                arrays[beginning(prefix) + part.start + name] = np.ascontiguousarray(array)
    return arrays


def torch_parts(layer: Cell) -> list[Part]:
    """Returns the layers that have parameters, in order. Raises ValueError if PyTorch has no counterpart."""
    cells = [cell for cell in leaves(layer) if not isinstance(cell, Projection)]
    for cell in cells:
        if isinstance(cell, SelfAttention) and cell.position != "none":
            raise ValueError(
                f"PyTorch's attention has no positions, but this one has position={cell.position!r}: take 'none'"
            )
    if isinstance(layer, SelfAttention | CrossAttention):
        return [Part(layer, "", layer.hidden_size, {"num_heads": layer.heads})]
    word = spell(layer)
    if not re.fullmatch(rf"p?({PRE_NORM}|{POST_NORM})n?", word):
        raise ValueError(
            f"PyTorch has no counterpart of this {type(layer).__name__}: it has attention, encoder and decoder "
            "layers as transformer_block makes them, and stacks of these, with or without a norm at the end"
        )
    size = next(cell.hidden_size for cell in cells if isinstance(cell, SelfAttention))
    pairs, found = 3 if "c" in word else 2, list[Part]()
    for i, cell in enumerate(cells):
        block, pair = divmod(i // 2, pairs)
        start, settings = f"layers.{block}.", {}
        if isinstance(cell, Norm):
            last = len(cells) % 2 and i == len(cells) - 1
            start, settings = "norm." if last else f"{start}norm{pair + 1}.", {"eps": cell.epsilon}
        elif isinstance(cell, FeedForward):
            settings = {"activation": cell.activation, "norm_first": "(n" in word}
        elif isinstance(cell, SelfAttention | CrossAttention):
            start, settings = start + ATTENTIONS[type(cell)], {"num_heads": cell.heads}
        if isinstance(cell, CrossAttention) and cell.memory_size != size:
            raise ValueError(
                f"a decoder layer of PyTorch reads a memory of its own size {size}, but this one's has size "
                f"{cell.memory_size}: convert its attention by itself"
            )
        found.append(Part(cell, start, size, settings))
    return found


def spell(layer: Cell) -> str:
    """Writes a layer as a word, `(ns)(nf)` for a block with its norms before its layers."""
    if isinstance(layer, Transformer):
        return spell(layer.stack)
    if isinstance(layer, Stacked) and layer.connection == "plain":
        return "".join(map(spell, layer.layers))
    return f"({spell(layer.layer)})" if isinstance(layer, Residual) else LETTERS.get(type(layer), "?")


def without_number(parts: list[Part]) -> list[Part]:
    """Returns the parts with names as in a single encoder or decoder layer."""
    return [part._replace(start=part.start.removeprefix("layers.0.")) for part in parts]


def correspondence(part: Part) -> list[Same]:
    """Lists what a layer's parameters are in PyTorch."""
    layer, n = part.layer, part.size
    if isinstance(layer, Norm):
        return [Same(("gain",), ("weight",), (n,)), Same(("bias",), ("bias",), (n,))]
    if isinstance(layer, FeedForward):
        return [
            *same_map("input", "linear1", layer.hidden_size, n),
            *same_map("output", "linear2", n, layer.hidden_size),
        ]
    output = same_map("output", "out_proj", n, n)
    if isinstance(layer, SelfAttention):
        own = ("input.kernel",), ("input.bias",)
    else:
        own = ("query.kernel", "memory.kernel"), ("query.bias", "memory.bias")
    bias = Same(own[1], ("in_proj_bias",), (3 * n,))
    if isinstance(layer, CrossAttention) and layer.memory_size not in (None, n):
        query = Same(("query.kernel",), ("q_proj_weight",), (n,), (n,))
        memory = Same(("memory.kernel",), ("k_proj_weight", "v_proj_weight"), (n, n), (layer.memory_size,))
        return [query, memory, bias, *output]
    return [Same(own[0], ("in_proj_weight",), (3 * n,), (n,)), bias, *output]


def same_map(ours: str, theirs: str, rows: int, columns: int) -> list[Same]:
    """Lists kernel and bias of a linear map."""
    return [
        Same((f"{ours}.kernel",), (f"{theirs}.weight",), (rows,), (columns,)),
        Same((f"{ours}.bias",), (f"{theirs}.bias",), (rows,)),
    ]


def part_from_torch(part: Part, entries: dict[str, Any]) -> Params:
    """Reads one layer. Raises ValueError for a missing entry and for one of another size."""
    found: Params = {}
    for same in correspondence(part):
        arrays = []
        for name, rows in zip(same.theirs, same.rows, strict=True):
            full, wanted = part.start + name, (rows, *same.columns)
            if full not in entries:
                hint = "; weights made with bias=False have no counterpart here" if "bias" in name else ""
                raise ValueError(
                    f"the state_dict has no {full}: it holds {', '.join(entries) or 'nothing'}{hint}"
                )
            array = as_array(entries[full])
            if array.shape != wanted:
                raise ValueError(f"{full} is {list(array.shape)}, but {part.layer} takes {list(wanted)}")
            arrays.append(array)
        # Queries come before keys and values.
        ends = [part.size] if len(same.ours) > 1 else []
        pieces = np.split(np.concatenate(arrays).T, ends, axis=-1)
        for name, piece in zip(same.ours, pieces, strict=True):
            *path, last = name.split(".")
            inner = found.setdefault(path[0], {}) if path else found
            inner[last] = jnp.asarray(piece)
    return found


def leaf_at(params: Params, name: str) -> Array:
    """Returns the entry of a name such as `input.kernel`."""
    for key in name.split("."):
        params = params[key]
    return params


def check_settings(parts: list[Part], module: Any) -> None:
    """Raises ValueError if an attribute of a module, or of one inside it, is another than the layer's."""
    for part in parts:
        for name, wanted in part.settings.items():
            found = attrgetter(part.start + name)(module)
            if name == "activation":
                found = getattr(found, "__name__", type(found).__name__).lower()
                if found not in ACTIVATIONS or wanted not in ACTIVATIONS:
                    continue
            if found != wanted:
                raise ValueError(
                    f"PyTorch's {part.start + name} is {found!r}, but that of {part.layer} is {wanted!r}"
                )


def leaves(layer: Cell) -> Iterator[Cell]:
    """Yields the layers inside, in order: those that are no stacks and no connections."""
    yield from (cell for cell, _ in walk(layer, None))


def walk(layer: Cell, params: Params | None) -> Iterator[tuple[Cell, Params]]:
    """Yields the layers inside with their parameters."""
    if isinstance(layer, LayerWrapper):
        yield from walk(layer.inner, params)
    elif isinstance(layer, Stacked):
        for i, inner in enumerate(layer.layers):
            yield from walk(inner, None if params is None else params["layers"][i])
    else:
        yield layer, params


def disassemble(layer: Cell, params: Params) -> list[Params]:
    """Returns the parameters of the layers inside. Raises ValueError for a projection of the inputs."""
    found = list(walk(layer, params))
    if any(isinstance(cell, Projection) and own for cell, own in found):
        raise ValueError(
            "PyTorch's encoder doesn't project its inputs, but these parameters do: give it inputs of its own size"
        )
    return [own for cell, own in found if not isinstance(cell, Projection)]


def assemble(layer: Cell, found: Iterator[Params]) -> Params:
    """Inverts `disassemble`: puts the parameters of the layers inside, in order, into the tree of the whole."""
    if isinstance(layer, LayerWrapper):
        return assemble(layer.inner, found)
    if isinstance(layer, Stacked):
        return {"layers": tuple(assemble(inner, found) for inner in layer.layers)}
    return {} if isinstance(layer, Projection) else next(found)
