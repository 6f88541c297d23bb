"""Language models against a float64 loop of their own, and PyTorch; a state carried on is one long text."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import GRU, LSTM, Bidirectional, Elman, LanguageModel, Stacked, carried, initial_carry
from models.cell import Params
from models.language_model import uniform_like
from tests.models import loops

pytestmark = pytest.mark.usefixtures("quick_compilation")
T, B, V, E, H = 7, 3, 6, 4, 5


def tokens(seed: int = 0, length: int = T) -> tuple[jax.Array, jax.Array]:
    """Returns what is seen and what follows, `[T, B]`."""
    text = jax.random.randint(jax.random.key(seed), (length + 1, B), 0, V)
    return text[:-1], text[1:]


def fresh(model: LanguageModel, scale: float = 0.7) -> Params:
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
    return uniform_like(params, jax.random.key(1), scale)


def losses_by_hand(params: Any, inputs: Any, targets: Any, tied: bool = False) -> np.ndarray:
    """−ln p of every token of an Elman net, row by row and step by step in NumPy."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    step, table = loops.elman(), p["embedding"]["embedding"]
    kernel = table.T if tied else p["kernel"]
    losses = np.zeros(inputs.shape)
    for b in range(inputs.shape[1]):
        state = (np.zeros(p["recurrent"]["cell"]["bias"].shape),)
        for t in range(inputs.shape[0]):
            state = step(p["recurrent"]["cell"], state, table[inputs[t, b]])
            z = state[0] @ kernel + p["bias"]
            losses[t, b] = np.log(np.sum(np.exp(z))) - z[targets[t, b]]
    return losses


@pytest.mark.parametrize("tied", [pytest.param(False, marks=pytest.mark.slow), True])
def test_losses_against_a_loop(tied: bool, x64: None) -> None:
    """Loss and, by central differences of the loop, the gradient of every parameter."""
    model = LanguageModel(Elman(E if tied else H), V, E, tied=tied)
    params, (inputs, targets) = fresh(model), tokens()
    assert ("kernel" in params["params"]) != tied
    expected = losses_by_hand(params, inputs, targets, tied)
    losses, _ = model.apply(params, inputs, targets, method="token_losses")  # type: ignore
    np.testing.assert_allclose(losses, expected, rtol=1e-12)

    def total(params: Params) -> jax.Array:
        return model.apply(params, inputs, targets, method="loss")[0]  # type: ignore

    value, gradient = jax.jit(jax.value_and_grad(total))(params)
    np.testing.assert_allclose(value, expected.sum(), rtol=1e-12)
    leaves, structure = jax.tree.flatten(params)
    for i, leaf in enumerate(leaves):
        for place in ((0,) * leaf.ndim, tuple(n - 1 for n in leaf.shape)):

            def at(change: float, i: int = i, place: tuple = place) -> float:
                moved = [x.at[place].add(change) if j == i else x for j, x in enumerate(leaves)]
                return losses_by_hand(jax.tree.unflatten(structure, moved), inputs, targets, tied).sum()

            slope = (at(1e-5) - at(-1e-5)) / 2e-5
            np.testing.assert_allclose(jax.tree.leaves(gradient)[i][place], slope, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_carried_from_batch_to_batch_is_one_long_text(x64: None) -> None:
    """Losses and final state of two pieces; the gradient of the second doesn't reach into the first."""
    model = LanguageModel(Stacked((GRU(H), LSTM(E)), "dense"), V, E)
    params, (inputs, targets) = fresh(model), tokens(length=9)
    run: Callable[..., Any] = jax.jit(lambda p, x, t, s: model.apply(p, x, t, s, method="token_losses"))
    begin = initial_carry(model, params, (B,))
    whole, final = run(params, inputs, targets, begin)
    first, between = run(params, inputs[:4], targets[:4], begin)
    second, end = run(params, inputs[4:], targets[4:], carried(between))
    np.testing.assert_allclose(jnp.concatenate([first, second]), whole, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), end, final)

    def through(stop: Callable[[Any], Any]) -> Any:
        def second_loss(table: jax.Array) -> jax.Array:
            moved = {"params": params["params"] | {"embedding": {"embedding": table}}}
            _, state = model.apply(moved, inputs[:4], targets[:4], begin, method="loss")  # type: ignore
            return model.apply(params, inputs[4:], targets[4:], stop(state), method="loss")[0]  # type: ignore

        return jax.jit(jax.grad(second_loss))(params["params"]["embedding"]["embedding"])

    assert jnp.any(through(lambda state: state))
    assert not jnp.any(through(carried))


@pytest.mark.slow
def test_masked_steps(x64: None) -> None:
    """Behind a row's end nothing is added, nothing changes the state, and no NaN matters."""
    model = LanguageModel(LSTM(H), V, E)
    params, (inputs, targets) = fresh(model), tokens()
    mask = jnp.arange(T)[:, None] < jnp.array([T, 4, 1])[None]
    answer: Any = model.apply(params, inputs, targets, mask=mask, method="token_losses")
    losses, state = answer
    total, _ = model.apply(params, inputs, targets, mask=mask, method="loss")  # type: ignore
    answer = model.apply(params, inputs[:4, 1:2], targets[:4, 1:2], method="token_losses")
    alone, ended = answer
    np.testing.assert_allclose(losses[:4, 1], alone[:, 0], rtol=1e-12)
    assert not jnp.any(jnp.where(mask, 0, losses))
    np.testing.assert_allclose(total, losses.sum(), rtol=1e-12)
    unmasked, _ = model.apply(params, inputs, targets, counted=mask, method="loss")  # type: ignore
    np.testing.assert_allclose(unmasked, total, rtol=1e-12)
    np.testing.assert_allclose(state.c[1], ended.c[0], rtol=1e-12)


@pytest.mark.slow
def test_dropout_falls_in_training_alone() -> None:
    model = LanguageModel(LSTM(H), V, E, dropout=0.5)
    params, (inputs, _) = fresh(model), tokens()
    run: Callable[..., Any] = jax.jit(
        lambda key, train: model.apply(params, inputs, train=train, rngs={"dropout": key})[1],
        static_argnums=1,
    )
    still, ys = run(jax.random.key(2), False), run(jax.random.key(2), True)
    assert 0.2 < float(jnp.mean(ys == 0)) < 0.8
    assert not jnp.any(still == 0)
    assert not jnp.array_equal(ys == 0, run(jax.random.key(3), True) == 0)


def test_uniform_start() -> None:
    model = LanguageModel(LSTM(40), 50, 40)
    params = fresh(model, 0.1)
    for leaf in jax.tree.leaves(params):
        assert jnp.max(jnp.abs(leaf)) <= 0.1
        assert jnp.std(leaf) == pytest.approx(0.1 / 3**0.5, rel=0.2)
    draws = [leaf.ravel()[:20].tolist() for leaf in jax.tree.leaves(params)]
    assert len({tuple(draw) for draw in draws}) == len(draws)


def test_refused() -> None:
    empty = jnp.zeros((1, 1), jnp.int32)
    with pytest.raises(ValueError, match=r"embedding_size must be .* 5, but is 4"):
        LanguageModel(LSTM(H), V, E, tied=True).init(jax.random.key(0), empty)
    with pytest.raises(ValueError, match="reads from the end knows the future"):
        LanguageModel(Bidirectional(LSTM(H)), V, E).init(jax.random.key(0), empty)
    with pytest.raises(ValueError, match="vocabulary_size must be a whole number of at least 1, but is 0"):
        LanguageModel(LSTM(H), 0, E).init(jax.random.key(0), empty)


@pytest.mark.peers
def test_pytorch(x64: None) -> None:
    """Two layers of LSTM between an embedding and a linear layer: the loss of a second segment, whose state was
    carried, and every gradient."""
    torch: Any = pytest.importorskip("torch", reason="needs PyTorch: make test-peers")
    model = LanguageModel(Stacked((LSTM(H), LSTM(H))), V, E)
    params, (inputs, targets) = fresh(model), tokens(length=8)
    inner = params["params"]
    layers = inner["recurrent"]["cell"]["layers"]
    as_torch = lambda array: torch.tensor(np.asarray(array), dtype=torch.float64)  # noqa: E731
    embedding, lstm = torch.nn.Embedding(V, E).double(), torch.nn.LSTM(E, H, 2).double()
    readout = torch.nn.Linear(H, V).double()
    with torch.no_grad():
        embedding.weight.copy_(as_torch(inner["embedding"]["embedding"]))
        readout.weight.copy_(as_torch(inner["kernel"].T))
        readout.bias.copy_(as_torch(inner["bias"]))
        for i, own in enumerate(layers):
            for name, value in (
                ("weight_ih", own["kernel"].T), ("weight_hh", own["recurrent"].T), ("bias_ih", own["bias"]),
                ("bias_hh", 0 * own["bias"]),
            ):  # fmt: skip
                getattr(lstm, f"{name}_l{i}").copy_(as_torch(value))
    xs, ts = (torch.tensor(np.asarray(x), dtype=torch.int64) for x in (inputs, targets))
    state = None
    for cut in (slice(0, 4), slice(4, 8)):
        state = None if state is None else tuple(part.detach() for part in state)
        ys, state = lstm(embedding(xs[cut]), state)
    loss = torch.nn.functional.cross_entropy(readout(ys).reshape(-1, V), ts[4:].reshape(-1), reduction="sum")
    loss.backward()

    _, between = model.apply(params, inputs[:4], targets[:4], method="loss")  # type: ignore
    total, gradient = jax.value_and_grad(
        lambda p: model.apply(p, inputs[4:], targets[4:], carried(between), method="loss")[0]  # type: ignore
    )(params)
    np.testing.assert_allclose(total, loss.item(), rtol=1e-12)
    mine = gradient["params"]
    found = mine["recurrent"]["cell"]["layers"]
    pairs = [
        (mine["embedding"]["embedding"], embedding.weight),
        (mine["kernel"].T, readout.weight),
        (mine["bias"], readout.bias),
        *((own["kernel"].T, getattr(lstm, f"weight_ih_l{i}")) for i, own in enumerate(found)),
        *((own["recurrent"].T, getattr(lstm, f"weight_hh_l{i}")) for i, own in enumerate(found)),
        *((own["bias"], getattr(lstm, f"bias_ih_l{i}")) for i, own in enumerate(found)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("outside", [-1, pytest.param(-100, marks=pytest.mark.full)])
def test_tokens_outside(outside: int) -> None:
    """Masked they count nothing; elsewhere they are NaN under `jit` and refused where they are concrete."""
    model = LanguageModel(Elman(H), V, E)
    params, (inputs, targets) = fresh(model), tokens()
    mask = jnp.ones((T, B), bool).at[T - 1, 1].set(False)

    def loss(params: Params, inputs: Any, targets: Any, mask: Any = None) -> Any:
        return model.apply(params, inputs, targets, mask=mask, method="loss")[0]  # type: ignore

    def one_by_one(params: Params, inputs: Any, targets: Any, mask: Any = None) -> Any:
        return model.apply(params, inputs, targets, mask=mask, method="token_losses")[0]  # type: ignore

    compiled, each = jax.jit(jax.value_and_grad(loss)), jax.jit(one_by_one)
    strange, follows = inputs.at[T - 1, 1].set(outside), targets.at[T - 1, 1].set(outside)
    expected = compiled(params, inputs, targets, mask)
    jax.tree.map(np.testing.assert_array_equal, compiled(params, strange, follows, mask), expected)
    np.testing.assert_array_equal(each(params, strange, follows, mask), each(params, inputs, targets, mask))
    for given in ((strange, targets), (inputs, follows)):
        assert np.isnan(compiled(params, *given)[0])
        assert np.argwhere(np.isnan(each(params, *given))).tolist() == [[T - 1, 1]]
        with pytest.raises(ValueError, match=f"are ids of 0 … 5, but {outside} is among them"):
            loss(params, *given)
