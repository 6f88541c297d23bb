"""Shorter key–value caches, where it is known how many steps will be taken."""

from dataclasses import fields, replace
from typing import Any

from models.cell import Cell
from models.layers.position import BOUNDED
from models.layers.self_attention import SelfAttention
from models.layers.transformer import Transformer


def with_short_caches(cell: Cell, steps: int) -> Cell:
    """Returns a cell with the same parameters, and over at most `steps` steps from its initial state the same
    outputs, whose caches have no more slots than these steps fill: search copies them at every step.

    Layers with learned or sinusoidal codes, of which there are `context`, stay as they are."""
    changed: dict[str, Any] = {}
    for field in fields(cell):
        value = getattr(cell, field.name)
        if isinstance(value, Cell):
            changed[field.name] = with_short_caches(value, steps)
        elif isinstance(value, tuple) and any(isinstance(part, Cell) for part in value):
            changed[field.name] = tuple(
                with_short_caches(part, steps) if isinstance(part, Cell) else part for part in value
            )
    if isinstance(cell, SelfAttention | Transformer) and cell.position not in BOUNDED:
        changed["context"] = min(cell.context, steps)
    return replace(cell, **changed) if changed else cell
