"""The score of a task whose outputs are decoded to texts: each process decodes its share, and their counts add."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis import Statistics
from experiments.task import Scores
from models.cell import Params


class Decoded(NamedTuple):
    """One decoded output, and what it should be."""

    prediction: str
    reference: str
    source: str = ""


@dataclass(frozen=True)
class CorpusScore:
    """A `Task.score` of decoded texts.

    During training in several processes each decodes its share of the batches (`totals`), and the vectors of all
    are added before the scores are computed of them (`figures`): the numbers of one process. On the test data the
    main process decodes everything.

    Attributes:
        decode: `(params, batch) → outputs`, without those that are padding.
        statistics: scores by the names of the task's metrics.
        examples: how many decoded outputs to show, evenly spaced.
    """

    decode: Callable[[Params, Any], Iterable[Decoded]]
    statistics: Mapping[str, Statistics[str]]
    examples: int = 10

    def __call__(self, params: Params, batches: Sequence[Any]) -> Scores:
        """Returns the scores on all batches, and examples."""
        decoded = [output for batch in batches for output in self.decode(params, batch)]
        return Scores(self.figures(self.add(decoded)), format_examples(decoded, self.examples))

    def totals(self, params: Params, batches: Sequence[Any]) -> np.ndarray:
        """Returns the sums of all counts over these batches, one statistic after the other; they add."""
        return self.add(output for batch in batches for output in self.decode(params, batch))

    def add(self, decoded: Iterable[Decoded]) -> np.ndarray:
        """Returns the sums of all counts over these outputs."""
        total = np.zeros(sum(statistic.size for statistic in self.statistics.values()))
        for output in decoded:
            counts = [s.of(output.prediction, output.reference) for s in self.statistics.values()]
            total += np.concatenate(counts)
        return total

    def figures(self, totals: np.ndarray) -> Mapping[str, float]:
        """Computes the scores of summed counts."""
        ends = np.cumsum([statistic.size for statistic in self.statistics.values()])
        parts = np.split(totals, ends[:-1])
        return {name: s.value(part) for (name, s), part in zip(self.statistics.items(), parts, strict=True)}


def format_examples(decoded: Sequence[Decoded], count: int) -> str:
    """Formats evenly spaced outputs, each below its source and above its reference."""
    if not decoded or count < 1:
        return ""
    chosen = np.linspace(0, len(decoded) - 1, min(count, len(decoded))).astype(int)
    blocks = []
    for output in (decoded[i] for i in chosen):
        lines = [("source", output.source)] if output.source else []
        lines += [("predicted", output.prediction), ("reference", output.reference)]
        blocks.append("\n".join(f"{name:<9}  {text}" for name, text in lines))
    return "\n\n".join(blocks)
