"""Compare how the gradient reaches back to each token of the source, with a fixed context and with attention.

Encoder–decoders learn to copy (or reverse) letters: with the encoder's last state as the context, with the source
read from its end (Sutskever et al. 2014), and with attention. The norm of the gradient of a pair's loss by the
embedding of each source token, before and after training, beside the accuracy, for sources of several lengths.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from analysis import matrix_norms, sequence_jacobians
from data import PairBatch, PairExample, ParallelConfig, ParallelText, collate_pairs
from data.synthetic.pairs import SYMBOLS
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.footprint import check_task_fits
from experiments.harness.checks import check_at_least, check_distinct, check_seed
from experiments.harness.files import arrays_with_prefix, read_arrays, stored_config
from experiments.harness.options import folder_name
from experiments.harness.run import Run
from experiments.network import Direction
from experiments.run_task import Trained, run_tasks
from experiments.task import Task
from experiments.training import CELL_HELP, Flat
from experiments.translation.config import TranslationConfig
from experiments.translation.task import translation_task
from models import EncoderDecoder
from models.cell import Array, Params
from train import LoopConfig, OptimizerConfig

SEVERAL_NETS = True  # one after another: what several processes can't share
NETS: Mapping[str, tuple[System, Direction]] = {
    "fixed context": ("fixed", "forward"),
    "fixed context, source reversed": ("fixed", "backward"),
    "attention": ("attention", "forward"),
}
MOMENTS = ("before", "after")


@dataclass(frozen=True)
class Config:
    """Source gradients."""

    kind: Literal["copy", "reversal"] = "copy"
    """The target of a source: the same letters, or reversed ones."""
    length: int = 20
    """Most letters of a source in training; each length is as likely."""
    lengths: tuple[int, ...] = (5, 10, 20, 40, 80)
    """Lengths of the sources that are measured, n."""
    count: int = 20_000
    """Training pairs."""
    cell: Annotated[str, tyro.conf.arg(help=f"The cell of encoder and decoder: {CELL_HELP}.")] = "gru"
    hidden_size: int = 96
    """Units of the cell, and of the embedding, H."""
    examples: int = 32
    """Sources of each length along which gradients are measured."""
    batch_size: int = 64
    """Pairs per step, B."""
    seed: int = 0
    """Seed of parameters, pairs, and the sources that are measured."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=1000, eval_every=250))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        check_at_least(1, length=self.length, count=self.count, hidden_size=self.hidden_size)
        check_at_least(1, examples=self.examples, batch_size=self.batch_size)
        for length in self.lengths:
            check_at_least(1, lengths=length)
        check_distinct(lengths=self.lengths)
        check_seed(self.seed)

    def check(self) -> None:
        """Checks what trains before a run is begun."""
        self.optimizer.for_run(self.loop.steps, self.loop.eval_every)
        for net, task in self.tasks.items():
            check_task_fits(task, self.translation(net).training(self.text))

    def translation(self, net: str) -> TranslationConfig:
        """Returns the options of training a net as a translation model."""
        system, direction = NETS[net]
        held_out = min(500, self.count)
        data = ParallelConfig(
            kind=self.kind, length=self.length, count=self.count, held_out=held_out, seed=self.seed
        )
        return TranslationConfig(
            system=system,
            data=data,
            model=ModelConfig(cell=self.cell, hidden_size=self.hidden_size, direction=direction),
            batch_size=self.batch_size,
            seed=self.seed,
            loop=self.loop,
            optimizer=self.optimizer,
        )

    @cached_property
    def text(self) -> ParallelText:
        """Returns the pairs, loaded when first asked for."""
        return self.translation("fixed context").text

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Returns the tasks by net; nothing is translated while they train."""
        return {
            net: replace(
                translation_task(self.translation(net), system, self.text),
                score=None,
                report="cross_entropy",
            )
            for net, (system, _) in NETS.items()
        }

    def pairs_of_length(self, length: int) -> PairBatch:
        """Returns sources of `length` random letters and their targets, padded to one size for all lengths."""
        random = np.random.default_rng((self.seed, length))
        letters = random.integers(len(SYMBOLS), size=(self.examples, length))
        sources = [" ".join(SYMBOLS[letter] for letter in row) for row in letters.tolist()]
        targets = sources if self.kind == "copy" else [source[::-1] for source in sources]
        encode, encode_target = self.text.source.encode, self.text.target.encode
        pairs = [PairExample(encode(s), encode_target(t)) for s, t in zip(sources, targets, strict=True)]
        size = 1 + max(self.lengths)
        return collate_pairs(pairs, (size, size))


def main(config: Config, run: Run) -> str:
    """Trains and measures net by net, draws, returns the table."""
    batches = {n: config.pairs_of_length(n) for n in config.lengths}

    def measured(name: str, trained: Trained, folder: Path) -> dict[str, Any]:
        del folder
        model, found = config.tasks[name].model, {}
        assert isinstance(model, EncoderDecoder)
        for moment, params in zip(MOMENTS, (trained.before, trained.after), strict=True):
            for n, batch in batches.items():
                norms, accuracy = jax.device_get(source_gradients(model, params, batch))
                found |= {f"{moment}|gradients|{n}": norms[:n], f"{moment}|accuracy|{n}": accuracy}
        return found

    options = config.translation("fixed context").training(config.text)
    nets = dict(run_tasks(run, config.tasks, options, measured))
    table = format_table(nets, config.lengths)
    run.write_table(table)
    draw(run.folder)
    run.finish(results(nets))
    return table


@partial(jax.jit, static_argnums=0)
def source_gradients(model: EncoderDecoder, params: Params, batch: PairBatch) -> tuple[Array, Array]:
    """Computes ‖∂ℓ/∂e_s‖ `[L, B]`, of the loss of each pair, −ln p(target | source), by the embedding at each place
    of its source; and the share of target tokens that are the likeliest, given those before."""

    def along(pair: PairBatch) -> Array:
        def loss(xs: Array) -> Array:
            encoded: Any = model.apply(params, xs, mask=pair.mask, method="encode_vectors")
            options: Any = {"target_mask": pair.target_mask, "method": "losses_of"}
            return jnp.sum(jnp.asarray(model.apply(params, encoded, pair.targets, **options)))

        xs: Any = model.apply(params, pair.inputs, mask=pair.mask, method="read")
        return matrix_norms(sequence_jacobians(loss, xs))

    masks: Any = {"mask": batch.mask, "target_mask": batch.target_mask}
    logits: Any = model.apply(params, batch.inputs, targets=batch.targets, **masks)
    right = (jnp.argmax(logits, axis=-1) == batch.targets) & batch.target_mask
    return jax.vmap(along, in_axes=1, out_axes=1)(batch), jnp.sum(right) / jnp.sum(batch.target_mask)


def format_table(nets: Mapping[str, Mapping[str, np.ndarray]], lengths: tuple[int, ...]) -> str:
    """Formats the accuracy and, before and after training, the gradient at the first place and at the last."""
    width = max(map(len, nets))
    lines = [
        f"{'net':<{width}}{'n':>5}{'accuracy':>10}"
        + "".join(f"{m + ', first':>15}{'last':>9}" for m in MOMENTS)
    ]
    for name, found in nets.items():
        for n in lengths:
            line = f"{name if n == lengths[0] else '':<{width}}{n:>5}{float(found[f'after|accuracy|{n}']):>10.1%}"
            for moment in MOMENTS:
                means = found[f"{moment}|gradients|{n}"].mean(axis=1)
                line += f"{means[0]:>15.1e}{means[-1]:>9.1e}"
            lines.append(line)
    explained = (
        "Accuracy of each target token given those before it, after training. Gradient of a pair's loss by the\n"
        "embedding of the first and the last letter of its source, means over pairs."
    )
    return "\n".join([*lines, "", explained])


def results(nets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Returns accuracies and mean gradients of every net, moment and length."""
    return {
        name: {
            f"{moment} training": {
                "accuracy": {n: float(v) for n, v in arrays_with_prefix(f"{moment}|accuracy", found).items()},
                "gradients": {
                    n: v.mean(axis=1).tolist()
                    for n, v in arrays_with_prefix(f"{moment}|gradients", found).items()
                },
            }
            for moment in MOMENTS
        }
        for name, found in nets.items()
    }


def draw(folder: Path) -> list[Path]:
    """Draws the figure of a finished run from its arrays."""
    from analysis.figures.style import save
    from analysis.figures.translation import gradient_by_place

    config = stored_config(Config, folder)
    nets = {name: read_arrays(folder, f"nets/{folder_name(name)}") for name in NETS}
    gradients = {
        f"{moment} training": {
            name: {n: found[f"{moment}|gradients|{n}"].mean(axis=1) for n in config.lengths}
            for name, found in nets.items()
        }
        for moment in MOMENTS
    }
    accuracies = {
        name: [float(found[f"after|accuracy|{n}"]) for n in config.lengths] for name, found in nets.items()
    }
    figure = gradient_by_place(gradients, accuracies, config.lengths, trained=config.length)
    return save(figure, folder / "figures", "gradient_by_place")
