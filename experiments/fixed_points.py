"""Fixed points: the skeleton of a net that remembers three bits, its stable points and the saddles between them.

Trains a net on the flip-flop task and then looks for the states at which it stays when nothing comes in: minima of
q = ½ ‖F(s) − s‖² from many starts, in double precision. Stable ones are what the net remembers, one for every
pattern of bits; between them stand saddles, by whose unstable directions a pulse is decided. Sussillo & Barak 2013;
Golub & Sussillo 2018.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from analysis import FixedPoints, figures, find_fixed_points, principal_axes, ways_down
from analysis.figures_points import bits_against_time, fixed_points_in_axes, kind_of
from data import Batch, flip_flop
from experiments.problem import Problem, from_task
from experiments.run import Run, read_arrays, read_run
from experiments.training import (
    Evaluation,
    Flat,
    TrainingConfig,
    train_model,
    training_record,
)
from models import Cell, SequenceTagger
from models.cell import Array, Params, State, at_least
from models.scan import states_before
from models.state import ravel_state
from train import LoopConfig, SumCount, evaluate, square_error
from train.metrics import masked_sum

DRAWN = 12  # held-out sequences whose states are drawn


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Fixed points."""

    cell: str = "gru"
    """The cell, as in other experiments: elman, gru, lstm, "path/to/file.py:MyCell(alpha=0.3)", …"""
    hidden_size: int = 32
    """Units of the cell, H."""
    bits: int = 3
    """Bits to remember, each set by a channel of its own."""
    length: int = 100
    """Length of the sequences, T."""
    probability: float = 0.05
    """Of a pulse, at each step on each channel."""
    starts: int = 1000
    """States from which fixed points are looked for."""
    noise: float = 0.1
    """Standard deviation of what is added to each start, in those of the states themselves."""
    loop: Annotated[LoopConfig, Flat] = field(default_factory=lambda: LoopConfig(steps=2000, eval_every=250))

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, bits=self.bits, length=self.length, starts=self.starts)
        if not 0 < self.probability <= 1:
            raise ValueError(f"--probability must be above 0 and at most 1, but is {self.probability}")
        if not 0 <= self.noise < float("inf"):
            raise ValueError(f"--noise must be at least 0 and finite, but is {self.noise}")
        if self.network.direction != "forward":
            raise ValueError(
                f"--direction {self.network.direction} reads the future and has no step that could stay where it "
                "is: take --direction forward"
            )

    def check(self) -> None:
        """Raises ValueError for a network that can't be had or drawn, before a folder is made for the run."""
        layer = self.layer()
        if layer.couples_batch:
            raise ValueError(
                f"--cell {self.cell} lets the examples of a batch see one another, so that no state is a fixed "
                "point by itself: take another cell"
            )
        size = state_size(layer, self.bits)
        if size < 3:
            raise ValueError(
                f"--hidden-size {self.hidden_size} makes a state of {size}: three axes need at least 3"
            )


def state_size(layer: Cell, input_size: int) -> int:
    """How many numbers are in the state, S."""
    params = jax.eval_shape(lambda: layer.init(jax.random.key(0), input_size))
    return jax.eval_shape(lambda p: ravel_state(layer.initial_state(p))[0], params).shape[0]


def tracking(outputs: Array, batch: Batch) -> dict[str, SumCount]:
    """The error of all bits at all steps, and the share of them whose sign is right: `[T, B, bits]` each."""
    targets, mask = jnp.asarray(batch.targets), jnp.asarray(batch.mask)
    every = jnp.broadcast_to(mask[..., None], targets.shape)
    return {
        "mean_square_error": square_error(outputs, targets, mask),
        "accuracy": masked_sum(jnp.sign(outputs) == targets, every),
    }


def problem(bits: int, length: int, probability: float) -> Problem:
    """A flip-flop of so many bits."""
    return Problem(
        title=f"flip-flop of {bits} bits",
        data=from_task(partial(flip_flop, length=length, bits=bits, probability=probability)),
        measure=tracking,
        classes=bits,
        metric="mean_square_error",
        baseline=1.0,
        trivial="always answering 0",
        each_step=True,
    )


def main(config: Config, run: Run) -> str:
    """Trains, looks for fixed points, tabulates and draws; returns the table."""
    asked = problem(config.bits, config.length, config.probability)
    layer, held_out = config.layer(), asked.data.test()
    model = asked.model(config.network, layer)
    assert isinstance(model, SequenceTagger)
    params = train_model(
        run.folder,
        run=run,
        model=model,
        measure=asked.measure,
        config=config,
        batches=asked.data.train(config.seed, config.batch_size),
        validation=asked.data.validation(),
        label=config.network.describe(config.cell),
    )
    test = evaluate(Evaluation(model, asked.measure), params, held_out)
    arrays = measure(config, layer, model, params, held_out[0])
    run.write_arrays("curves", training_record(run.folder))
    run.write_arrays("points", arrays)
    table = format_table(config, test, arrays)
    (run.folder / "table.txt").write_text(table + "\n")
    run.finish({"test": test, "points": counts(arrays)})
    draw(run.folder)
    return table


def measure(
    config: Config, layer: Cell, model: SequenceTagger, params: Params, batch: Batch
) -> dict[str, np.ndarray]:
    """Fixed points and what they are read out as, in double precision, and some of the states of a held-out batch.

    `states [P, S]`, `speed [P]`, `fixed [P]`, `unstable [P]`, `eigenvalues [P, S]`, `starts [P]`, `lost []` as in
    `FixedPoints`, the stable ones first; `readout [P, bits]`; `ends [M, 2]` the points in which both ways down from
    each of the M saddles with one unstable direction end, −1 for none; `places [P, 3]`, `trajectories [N, T, 3]`
    and `ways [2M, T, 3]` in the principal axes of the trajectories; `inputs`, `targets`, `outputs [T, bits]` of
    one sequence.
    """
    answers = np.asarray(model.apply(params, batch.inputs[:, :1]))[:, 0]
    with jax.enable_x64(True):
        precise = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        own = precise["params"]["recurrent"]["cell"]
        visited = jax.jit(partial(visited_states, layer))(own, jnp.asarray(batch.inputs, jnp.float64))
        vectors = np.asarray(jax.vmap(jax.vmap(lambda state: ravel_state(state)[0]))(visited))
        key = jax.random.fold_in(jax.random.key(config.seed), 2)
        starts = choose_starts(key, visited, config.starts, config.noise)
        silence = jnp.zeros(config.bits)
        found = in_order(find_fixed_points(layer, own, silence, starts))
        ways = ways_down(layer, own, silence, found.states[found.fixed & (found.unstable == 1)])
        outputs = jax.jit(partial(outputs_at, layer))(own, jnp.asarray(found.states), silence)
        readout = np.asarray(model.apply(precise, outputs, method=lambda module, ys: module.readout(ys)))
    drawn = vectors[:, :DRAWN].swapaxes(0, 1)
    mean, axes = principal_axes(drawn, 3)
    return {
        **{name: np.asarray(value) for name, value in vars(found).items()},
        "readout": readout.reshape(-1, config.bits),
        "ends": nearest(ways[:, :, -1], found.states),
        "places": (found.states - mean) @ axes.T,
        "ways": ((ways - mean) @ axes.T).reshape(-1, ways.shape[2], 3),
        "trajectories": (drawn - mean) @ axes.T,
        "inputs": np.asarray(batch.inputs)[:, 0],
        "targets": np.asarray(batch.targets)[:, 0],
        "outputs": answers,
    }


def visited_states(layer: Cell, params: Params, inputs: Array) -> State:
    """The states that the net goes through, leaves `[T, B, ...]`, of inputs `[T, B, D]`."""
    batch_shape = (inputs.shape[1],)
    weights = layer.prepare(params, batch_shape=batch_shape)
    return states_before(
        layer, weights, layer.initial_state(params, batch_shape), layer.drive(weights, inputs)
    )


def choose_starts(key: Array, visited: State, count: int, noise: float) -> State:
    """Half of them visited states, half points between two such, where the saddles are; noise on all of them."""
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), visited)
    total = jax.tree.leaves(flat)[0].shape[0]
    pair_key, share_key, noise_key = jax.random.split(key, 3)
    one, other = jax.random.randint(pair_key, (2, count), 0, total)
    chosen = jax.tree.map(lambda leaf: leaf[one], flat)
    vectors = jax.vmap(lambda state: ravel_state(state)[0])(flat)
    share = jax.random.uniform(share_key, (count, 1)) * (jnp.arange(count)[:, None] % 2)
    mixed = (1 - share) * vectors[one] + share * vectors[other]
    mixed += noise * jnp.std(vectors, axis=0)[None] * jax.random.normal(noise_key, mixed.shape)
    return jax.vmap(lambda state, vector: ravel_state(state)[1](vector))(chosen, mixed)


def in_order(found: FixedPoints) -> FixedPoints:
    """Fixed points before slow ones, and of each the stable before those with few unstable directions."""
    order = np.lexsort((found.unstable, ~found.fixed))
    fields = {
        name: value[order] if isinstance(value, np.ndarray) else value for name, value in vars(found).items()
    }
    return FixedPoints(**fields)


def outputs_at(layer: Cell, params: Params, states: Array, x: Array) -> Array:
    """What the cell puts out when it steps from each state `[P, S]` under the input x: `[P, H]`."""
    weights = layer.prepare(params)
    drive = layer.drive(weights, x)
    _, restore = ravel_state(layer.initial_state(params))
    return jax.vmap(lambda vector: layer.step(weights, restore(vector), drive)[1])(states)


def nearest(ends: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Which of the points `[P, S]` each end `[..., S]` has come to, −1 where it is at none."""
    if not len(states):
        return np.full(ends.shape[:-1], -1)
    distances = np.linalg.norm(ends[..., None, :] - states, axis=-1)
    return np.where(distances.min(axis=-1, initial=np.inf) < 1e-3, distances.argmin(axis=-1), -1)


def patterns(arrays: dict[str, np.ndarray]) -> list[str]:
    """The corner nearest to each point's readout, `+-+` for +1, −1, +1."""
    return ["".join("+" if value > 0 else "-" for value in row) for row in arrays["readout"]]


def neighbours(arrays: dict[str, np.ndarray]) -> int:
    """How many saddles lead down to two stable points whose patterns differ in one bit."""
    names, unstable = patterns(arrays), arrays["unstable"]
    joined = [
        [names[i] for i in pair] for pair in arrays["ends"] if (pair >= 0).all() and not unstable[pair].any()
    ]
    return sum(sum(a != b for a, b in zip(*pair, strict=True)) == 1 for pair in joined)


def counts(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """How many points there are of each kind, and how many patterns have a stable one."""
    fixed, unstable = arrays["fixed"], arrays["unstable"]
    stable = {
        name for name, n, at_rest in zip(patterns(arrays), unstable, fixed, strict=True) if at_rest and n == 0
    }
    real = np.isreal(arrays["eigenvalues"][fixed]) & (arrays["eigenvalues"][fixed].real > 1)
    return {
        "stable": int(np.sum(fixed & (unstable == 0))),
        "patterns": len(stable),
        "saddles": {str(n): int(np.sum(fixed & (unstable == n))) for n in np.unique(unstable[fixed]) if n},
        "joining_neighbours": neighbours(arrays),
        "index": int(np.sum((-1) ** np.sum(real, axis=1))),  # sign det(I − J) = Π sign(1 − λ), pairs cancel
        "slow": int(np.sum(~fixed)),
        "lost_starts": int(arrays["lost"]),
    }


def format_table(config: Config, test: dict[str, float], arrays: dict[str, np.ndarray]) -> str:
    """What was found, and a row for each stable point."""
    found, width = counts(arrays), max(len("pattern"), config.bits)
    name = config.network.describe(config.cell)
    lines = [
        f"flip-flop of {config.bits} bits, {name}, {config.hidden_size} units: mean square error "
        f"{test['mean_square_error']:.5f}, {test['accuracy']:.2%} of the bits right on held-out sequences",
        f"fixed points without input, from {config.starts} starts:",
        f"  {found['stable']:>4}  stable, for {found['patterns']} of the {2**config.bits} patterns",
        *(
            f"  {number:>4}  {kind_of(int(n))}"
            + (
                f"; {found['joining_neighbours']} of them lead to two patterns one bit apart"
                if n == "1"
                else ""
            )
            for n, number in found["saddles"].items()
        ),
        f"  {found['slow']:>4}  slow points",
        f"  {found['lost_starts']:>4}  starts that ended at none",
        f"  {found['index']:>+4}  sum of sign det(I − J): +1 if none is missed, where the state can't leave a ball "
        "(Brouwer)",
        "",
        f"{'pattern':<{width}}  {'speed q':>8}  {'starts':>6}  {'largest |λ|':>11}  {'distance':>8}  readout",
    ]
    for i, pattern in enumerate(patterns(arrays)):
        if arrays["unstable"][i] or not arrays["fixed"][i]:
            continue
        readout = arrays["readout"][i]
        distance = np.linalg.norm(readout - np.where(readout > 0, 1, -1))
        lines.append(
            f"{pattern:<{width}}  {arrays['speed'][i] ** 2 / 2:>8.1e}  {arrays['starts'][i]:>6}  "
            f"{abs(arrays['eigenvalues'][i, 0]):>11.4f}  {distance:>8.4f}  "
            + " ".join(f"{value:+.3f}" for value in readout)
        )
    return "\n".join(
        [
            *lines,
            "",
            "one row for each stable point: q = ½ ‖F(s) − s‖²; how many starts ended there; the largest modulus of "
            "an eigenvalue",
            "of ∂F/∂s; how far the readout is from the pattern's own corner of the cube.",
        ]
    )


def draw(folder: Path) -> list[Path]:
    """The figures of a finished run, from its arrays."""
    config = read_run(folder)["config"]
    arrays, record = read_arrays(folder, "points"), read_arrays(folder, "curves")
    fixed, unstable = arrays["fixed"], arrays["unstable"]
    metric = "validation/mean_square_error"
    curve = {"step": record[f"{metric}/step"], "value": record[metric]}
    drawn = {
        "fixed_points": fixed_points_in_axes(
            arrays["places"], unstable, fixed, arrays["trajectories"], arrays["ways"]
        ),
        "bits": bits_against_time(arrays["inputs"], arrays["targets"], arrays["outputs"]),
        "training": figures.loss_curves(
            {config["cell"]: curve},
            y_label="mean square error, held out",
            baseline=1.0,
            baseline_label="always answering 0",
        ),
    }
    if fixed.any():
        panels = {
            f"{kind_of(int(n))} ({np.sum(fixed & (unstable == n))})": arrays["eigenvalues"][
                fixed & (unstable == n)
            ].ravel()
            for n in np.unique(unstable[fixed])
        }
        drawn["eigenvalues"] = figures.eigenvalues_in_plane(panels)
    return [path for name, figure in drawn.items() for path in figures.save(figure, folder / "figures", name)]
