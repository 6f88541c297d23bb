"""Stacks of layers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from models.cell import Array, BatchShape, Cell, Key, Output, Params, State, Weights, affine
from models.initializers import Glorot
from models.layers.bidirectional import Bidirectional
from models.layers.dropout import Dropout, VariationalDropout, require_key
from models.layers.layer import Layer, check_causal, check_parts, is_causal, split_or_none
from models.memory import Memory, common_memory_size, memory_argument
from models.recurrence.unroll import last_output, output_size, unroll

Connection = Literal["plain", "residual", "dense", "highway"]


@dataclass(frozen=True)
class Stacked(Layer):
    """A deep recurrent net: y¹ = f¹(x), and from the second layer on, with f = fˡ,

        yˡ = f(yˡ⁻¹)                                     connection="plain"
        yˡ = yˡ⁻¹ + f(yˡ⁻¹)                              "residual": He et al. 2016
        yˡ = f([x, y¹, …, yˡ⁻¹])                         "dense": Huang et al. 2017
        yˡ = t ∘ f(yˡ⁻¹) + (1 − t) ∘ yˡ⁻¹                "highway": Srivastava, Greff & Schmidhuber 2015
             with t = σ(yˡ⁻¹ W + b), b initialised to −1, so that a layer first passes on more than it adds

    `layers` are cells or layers (directions, stacks), of any type and size; residual and highway connections need
    one size from the first layer's output on. The output is that of the last layer.

    `dropout` (`Dropout`: new units at every step; `VariationalDropout`: the same for a whole sequence) is
    applied, in training, to the input of each f from the second on, and not to the connection around f. The input
    of the first layer is not dropped.

    Parameters: `layers`, a tuple with those of each layer; for highways `gates`, a tuple of `kernel [N, N]` and
    `bias [N]` for each layer from the second on. State: the tuple of the layers' states. A stack is causal if all
    its layers are.

    Examples:
        >>> net = Stacked((LSTM(8), GRU(4)), dropout=Dropout(0.2))
        >>> params = net.init(jax.random.key(0), input_size=3)
        >>> (lstm, gru), ys = unroll(net, params, jnp.ones((7, 3)), key=jax.random.key(1), train=True)
        >>> ys.shape, lstm.c.shape, gru.shape
        ((7, 4), (8,), (4,))
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
        common_memory_size(self.layers)  # refuses two sizes

    @property
    def causal(self) -> bool:
        """True if all layers are causal."""
        return all(is_causal(layer) for layer in self.layers)

    @property
    def couples_batch(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if one of the layers couples a batch."""
        return any(layer.couples_batch for layer in self.layers)

    @property
    def reads_memory(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """True if one of the layers reads a memory."""
        return any(layer.reads_memory for layer in self.layers)

    @property
    def memory_size(self) -> int | None:
        """The size of the memory that the layers read; None if none does."""
        return common_memory_size(self.layers)

    def init(self, key: Key, input_size: int) -> Params:
        own, gates, sizes = [], [], [input_size]
        keys = jax.random.split(key, (self.depth, 2))
        for i, (layer, (key_layer, key_gate)) in enumerate(zip(self.layers, keys, strict=True)):
            size = sum(sizes) if self.connection == "dense" else sizes[-1]
            params = layer.init(key_layer, size)
            given = output_size(layer, params, size, f"layer {i + 1} of a stack")
            if i and self.connection in ("residual", "highway") and given != size:
                raise ValueError(
                    f"a {self.connection} connection needs equal input and output sizes, but layer {i + 1} of "
                    f"{self.depth}, {type(layer).__name__}, has input size {size} and output size {given}: give "
                    "all layers one size, or choose 'plain' or 'dense'"
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
        memory: Memory | None = None,
    ) -> tuple[tuple[State, ...], Output]:
        """Runs layer by layer, each over the whole sequence, so that each layer's drive is one large product."""
        states = (None,) * self.depth if state is None else state
        check_parts(self, states, self.names)
        finals = []

        def run(i: int, xs: Array, **options: Any) -> Array:
            layer, own = self.layers[i], params["layers"][i]
            given = memory_argument(layer, memory)
            final, ys = unroll(layer, own, xs, states[i], method=method, **given, **options)
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
        memory: Memory | None = None,
    ) -> Output:
        """Returns the last output of the last layer; for two concatenated directions each at its own end. Raises
        ValueError if that layer reads from the end and a connection adds its input, whose step is then
        ambiguous."""
        options: Any = {"mask": mask, "reverse": reverse, "key": key, "train": train}
        if is_causal(self.layers[-1]):
            return super().last_output(params, xs, method=method, **options, **memory_argument(self, memory))
        if self.depth > 1 and self.connection in ("residual", "highway"):
            if not isinstance(self.layers[-1], Bidirectional):
                raise ValueError(
                    f"a {self.connection} stack ending in a {type(self.layers[-1]).__name__} has no last output: "
                    "reverse the whole stack, pool the mean, or choose 'plain' or 'dense' connections"
                )
            _, ys = self.unroll(params, xs, method=method, memory=memory, **options)
            return self.layers[-1].ends(ys, mask, reverse=reverse)

        def run(i: int, xs: Array, **options: Any) -> Array:
            layer, own = self.layers[i], params["layers"][i]
            options |= memory_argument(layer, memory)
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
        """Calls `run(i, xs, key=…, train=…, **options)` for each layer, with dropout and connections."""
        keys, drops = self.split_keys(key, train)

        def dropped(i: int, xs: Array) -> Array:
            if i and self.dropout is not None and drops is not None:
                xs = self.dropout(xs, drops[i])
            return run(i, xs, key=keys[i], train=train, **options)

        return self.connect(params, xs, dropped)

    def prepare(
        self,
        params: Params,
        *,
        key: Key | None = None,
        train: bool = False,
        batch_shape: BatchShape = (),
        memory: Memory | None = None,
    ) -> Weights:
        """Returns the layers' own weights, and the keys of their dropout.

        Raises ValueError for a stack that isn't causal, and in training for a `Dropout` that draws new units at
        every step, since a step doesn't know its time.
        """
        check_causal(self)
        keys, drops = self.split_keys(key, train)
        if drops is not None and not isinstance(self.dropout, VariationalDropout):
            raise ValueError(
                f"{self.dropout} draws new units at every step, which a single step can't: train by unroll, or use "
                f"VariationalDropout({self.dropout.rate if self.dropout else 0})"
            )
        layers = zip(self.layers, params["layers"], keys, strict=True)
        prepared = [
            layer.prepare(
                own, key=key, train=train, batch_shape=batch_shape, **memory_argument(layer, memory)
            )
            for layer, own, key in layers
        ]
        return params | {"layers": tuple(prepared), "drops": drops}

    def step(self, weights: Weights, state: State, drive: Array) -> tuple[tuple[State, ...], Output]:
        """Steps every layer, from the first to the last; the drive is the input itself."""
        check_causal(self)
        states = []

        def run(i: int, x: Array) -> Array:
            layer, own = self.layers[i], weights["layers"][i]
            stepped, y = layer.step(own, state[i], layer.drive(own, self.dropped(weights, i, x)))
            states.append(stepped)
            return y

        y = self.connect(weights, drive, run)
        return tuple(states), y

    def coordinates(self, state: State) -> State:
        """Returns the tuple of the layers' coordinates."""
        return tuple(layer.coordinates(own) for layer, own in zip(self.layers, state, strict=True))

    def from_coordinates(self, coordinates: State, like: State) -> State:
        parts = zip(self.layers, coordinates, like, strict=True)
        return tuple(layer.from_coordinates(own, before) for layer, own, before in parts)

    def has_coordinates(self, state: State) -> Array:
        """Returns True if the states of all layers have coordinates."""
        parts = [layer.has_coordinates(own) for layer, own in zip(self.layers, state, strict=True)]
        return jnp.all(jnp.stack(parts))

    def observe(self, weights: Weights, state: State, drive: Array) -> dict[str, Array]:
        """Returns the diagnostics of each layer as `layer1.NAME`, `layer2.NAME`, …"""
        found = {}

        def run(i: int, x: Array) -> Array:
            layer, own = self.layers[i], weights["layers"][i]
            layer_drive = layer.drive(own, self.dropped(weights, i, x))
            seen = layer.observe(own, state[i], layer_drive)
            found.update({f"layer{i + 1}.{name}": value for name, value in seen.items()})
            return layer.step(own, state[i], layer_drive)[1]

        self.connect(weights, drive, run)
        return found

    def connect(self, weights: Weights, x: Array, run: Callable[[int, Array], Array]) -> Array:
        """Applies the layers with their connections: `run(i, x)` is f of the i-th layer, on one step or on all."""
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

    def split_keys(
        self, key: Key | None, train: bool
    ) -> tuple[tuple[Key | None, ...], tuple[Key, ...] | None]:
        """Splits a key into one for each layer, and one for the dropout before it; None if nothing is dropped."""
        own, dropped = split_or_none(key, 2)
        dropping = train and self.dropout is not None and self.dropout.rate > 0
        drops = tuple(jax.random.split(require_key(dropped), self.depth)) if dropping else None
        return split_or_none(own, self.depth), drops

    def dropped(self, weights: Weights, i: int, x: Array) -> Array:
        """Applies the dropout before the i-th layer to x at one step."""
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
