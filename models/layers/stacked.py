"""Layer upon layer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights, affine
from models.initializers import Glorot
from models.layers.bidirectional import Bidirectional
from models.layers.dropout import Dropout, VariationalDropout, needed
from models.layers.layer import Layer, check_causal, check_output, check_parts, is_causal, split_or_none
from models.recurrence.unroll import last_output, unroll

Connection = Literal["plain", "residual", "dense", "highway"]


@dataclass(frozen=True)
class Stacked(Layer):
    """A deep recurrent net: y¹ = f¹(x), and from the second layer on, with f the layer itself,

        yˡ = f(yˡ⁻¹)                                     connection="plain"
        yˡ = yˡ⁻¹ + f(yˡ⁻¹)                              "residual": He et al. 2016
        yˡ = f([x, y¹, …, yˡ⁻¹])                         "dense": Huang et al. 2017
        yˡ = t ∘ f(yˡ⁻¹) + (1 − t) ∘ yˡ⁻¹                "highway": Srivastava, Greff & Schmidhuber 2015
             with t = σ(yˡ⁻¹ W + b), b = −1 at the start, when a layer lets pass more than it adds

    `layers` are cells or layers (directions, stacks), each of its own kind and size; only residual and highway
    connections want one size from the first layer's output on. The output is that of the last layer.

    `dropout` (`Dropout`: other units at every step; `VariationalDropout`: the same through a sequence) falls, in
    training, on what each f from the second on reads, and not on what a connection carries past f. What the first
    reads is its giver's to drop.

    Parameters: `layers`, a tuple of theirs; for highways `gates`, a tuple of `kernel [N, N]` and `bias [N]` for
    each layer from the second on. State: the tuple of the layers' states. Where all its layers are causal a stack
    steps.
    """

    layers: tuple[Cell, ...]
    connection: Connection = "plain"
    dropout: Dropout | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layers, tuple) or not self.layers:
            raise ValueError(f"a stack is a tuple of at least one layer, but layers is {self.layers!r}")
        if self.connection not in get_args(Connection):
            raise ValueError(
                f"unknown connection {self.connection!r} between layers: there are "
                f"{', '.join(get_args(Connection))}"
            )

    @property
    def causal(self) -> bool:
        """True where all its layers are."""
        return all(is_causal(layer) for layer in self.layers)

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True where one of its layers couples a batch."""
        return any(layer.couples_batch for layer in self.layers)

    def init(self, key: Key, input_size: int) -> Params:
        own, gates, sizes = [], [], [input_size]
        keys = jax.random.split(key, (self.depth, 2))
        for i, (layer, (key_layer, key_gate)) in enumerate(zip(self.layers, keys, strict=True)):
            size = sum(sizes) if self.connection == "dense" else sizes[-1]
            params = layer.init(key_layer, size)
            _, y = jax.eval_shape(
                lambda p, layer=layer, size=size: unroll(layer, p, jnp.zeros((1, size))), params
            )
            given = check_output(layer, y, f"layer {i + 1} of a stack")
            if i and self.connection in ("residual", "highway") and given != size:
                raise ValueError(
                    f"a {self.connection} connection wants outputs of one size, but layer {i + 1} of {self.depth}, "
                    f"{type(layer).__name__}, reads {size} numbers and gives {given}: give all layers one size, or "
                    "choose 'plain' or 'dense'"
                )
            if i and self.connection == "highway":
                kernel = Glorot()(key_gate, (size, size))
                gates.append({"kernel": kernel, "bias": jnp.full(size, -1, kernel.dtype)})
            own.append(params)
            sizes.append(given)
        return {"layers": tuple(own)} | ({"gates": tuple(gates)} if self.connection == "highway" else {})

    def initial_state(self, params: Params, batch_shape: BatchShape = ()) -> tuple[State, ...]:
        pairs = zip(self.layers, params["layers"], strict=True)
        return tuple(layer.initial_state(own, batch_shape) for layer, own in pairs)

    def unroll(
        self,
        params: Params,
        xs: Array,
        state: State | None = None,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
    ) -> tuple[tuple[State, ...], Output]:
        """Layer after layer, each over the whole sequence, so that each layer's drive is one large product."""
        states = (None,) * self.depth if state is None else state
        check_parts(self, states, self.names)
        finals = []

        def run(i: int, xs: Array, **options: Any) -> Array:
            final, ys = unroll(self.layers[i], params["layers"][i], xs, states[i], method=method, **options)
            finals.append(final)
            return ys

        ys = self.layer_by_layer(params, xs, run, mask=mask, reverse=reverse, key=key, train=train)
        return tuple(finals), ys

    def last_output(
        self,
        params: Params,
        xs: Array,
        *,
        mask: Array | None = None,
        reverse: bool = False,
        method: Any = "auto",
        key: Key | None = None,
        train: bool = False,
    ) -> Output:
        """That of the last layer. Raises ValueError where that reads from the end and a connection adds what stands
        below, so that it isn't said of which step: but of two directions side by side, each at its own end."""
        options: Any = {"mask": mask, "reverse": reverse, "key": key, "train": train}
        if is_causal(self.layers[-1]):
            return super().last_output(params, xs, method=method, **options)
        if self.depth > 1 and self.connection in ("residual", "highway"):
            if not isinstance(self.layers[-1], Bidirectional):
                raise ValueError(
                    f"a {self.connection} stack ending in a {type(self.layers[-1]).__name__} has no last output: "
                    "turn the whole stack round, pool the mean, or choose 'plain' or 'dense' connections"
                )
            _, ys = self.unroll(params, xs, method=method, **options)
            return self.layers[-1].ends(ys, mask, reverse=reverse)

        def run(i: int, xs: Array, **options: Any) -> Array:
            layer, own = self.layers[i], params["layers"][i]
            if i == self.depth - 1:
                return last_output(layer, own, xs, method=method, **options)
            return unroll(layer, own, xs, method=method, **options)[1]

        return self.layer_by_layer(params, xs, run, **options)

    def layer_by_layer(
        self,
        params: Params,
        xs: Array,
        run: Callable[..., Array],
        *,
        key: Key | None,
        train: bool,
        **options: Any,
    ) -> Array:
        """`run(i, xs, key=…, train=…, **options)` of each layer on what it reads; dropout and connections."""
        keys, drops = self.keys(key, train)

        def dropped(i: int, xs: Array) -> Array:
            if i and self.dropout is not None and drops is not None:
                xs = self.dropout(xs, drops[i])
            return run(i, xs, key=keys[i], train=train, **options)

        return self.through(params, xs, dropped)

    def prepare(
        self, params: Params, *, key: Key | None = None, train: bool = False, batch_shape: BatchShape = ()
    ) -> Weights:
        """The layers' own; the keys of their dropout beside them.

        Raises ValueError for a stack that isn't causal, and in training for a `Dropout` that draws anew at every
        step, for a step doesn't know which one it is.
        """
        check_causal(self)
        keys, drops = self.keys(key, train)
        if drops is not None and not isinstance(self.dropout, VariationalDropout):
            raise ValueError(
                f"{self.dropout} draws anew at every step, which a step alone can't: train by unroll, or step with "
                f"VariationalDropout({self.dropout.rate if self.dropout else 0})"
            )
        layers = zip(self.layers, params["layers"], keys, strict=True)
        prepared = [
            layer.prepare(own, key=key, train=train, batch_shape=batch_shape) for layer, own, key in layers
        ]
        return params | {"layers": tuple(prepared), "drops": drops}

    def step(self, weights: Weights, state: State, drive: Array) -> tuple[tuple[State, ...], Output]:
        """One step of every layer, from the first to the last; the drive is the input itself."""
        check_causal(self)
        states = []

        def run(i: int, x: Array) -> Array:
            layer, own = self.layers[i], weights["layers"][i]
            stepped, y = layer.step(own, state[i], layer.drive(own, self.dropped(weights, i, x)))
            states.append(stepped)
            return y

        y = self.through(weights, drive, run)
        return tuple(states), y

    def coordinates(self, state: State) -> State:
        """The tuple of the layers' coordinates."""
        return tuple(layer.coordinates(own) for layer, own in zip(self.layers, state, strict=True))

    def from_coordinates(self, coordinates: State, like: State) -> State:
        parts = zip(self.layers, coordinates, like, strict=True)
        return tuple(layer.from_coordinates(own, before) for layer, own, before in parts)

    def begun(self, state: State) -> Array:
        """Tells whether all layers' states have coordinates."""
        parts = [layer.begun(own) for layer, own in zip(self.layers, state, strict=True)]
        return jnp.all(jnp.stack(parts))

    def observe(self, weights: Weights, state: State, drive: Array) -> dict[str, Array]:
        """Returns what each layer shows of itself, under `layer1.NAME`, `layer2.NAME`, …"""
        found = {}

        def run(i: int, x: Array) -> Array:
            layer, own = self.layers[i], weights["layers"][i]
            driven = layer.drive(own, self.dropped(weights, i, x))
            seen = layer.observe(own, state[i], driven)
            found.update({f"layer{i + 1}.{name}": value for name, value in seen.items()})
            return layer.step(own, state[i], driven)[1]

        self.through(weights, drive, run)
        return found

    def through(self, weights: Weights, x: Array, run: Callable[[int, Array], Array]) -> Array:
        """The connections: `run(i, x)` is f of the i-th layer, on one step or on all."""
        below = [x]
        for i in range(self.depth):
            read = jnp.concatenate(below, axis=-1) if self.connection == "dense" else below[-1]
            y = run(i, read)
            if i and self.connection == "residual":
                y = read + y
            elif i and self.connection == "highway":
                gate = weights["gates"][i - 1]
                t = jax.nn.sigmoid(affine(read, gate["kernel"], gate["bias"]))
                y = t * y + (1 - t) * read
            below.append(y)
        return below[-1]

    def keys(self, key: Key | None, train: bool) -> tuple[tuple[Key | None, ...], tuple[Key, ...] | None]:
        """A key for each layer, and for the dropout before it; None where nothing is dropped."""
        own, dropped = split_or_none(key, 2)
        dropping = train and self.dropout is not None and self.dropout.rate > 0
        drops = tuple(jax.random.split(needed(dropped), self.depth)) if dropping else None
        return split_or_none(own, self.depth), drops

    def dropped(self, weights: Weights, i: int, x: Array) -> Array:
        """Returns what the i-th layer reads of x at one step."""
        if not i or weights["drops"] is None or not isinstance(self.dropout, VariationalDropout):
            return x
        return self.dropout.at_step(x, weights["drops"][i])

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.layers)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers in messages."""
        return tuple(f"layer {i + 1}" for i in range(self.depth))
