"""`--from RUN`: begin with the weights of the encoder of a finished run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from data import TokenEncoder, Tokenizer, vocabulary_digest
from experiments.harness.cell_files import check_trusted
from experiments.harness.errors import UserError
from experiments.harness.files import read_run
from experiments.network import NetworkConfig
from experiments.pretrained.encoder_run import EMBEDDING, SPANS, EncoderRun, read_encoder_run
from models.cell import Array, Params
from train.state import leaf_name

FromRun = Annotated[
    Path | None,
    tyro.conf.arg(
        name="from",
        help="Begin with the encoder of this finished run of bert or another text experiment: with its vocabulary, "
        "its cell and sizes, and the weights of its embedding and layer. An option of the net that is given "
        "overrides the run's; arrays of another shape begin at random.",
    ),
]
ENCODER = ("reader", "recurrent", "spans")  # the parameters that read a text; all others read these out


def run_given(given: Mapping[str, str]) -> EncoderRun | None:
    """Reads the run of `--from` among the options of a command line.

    Raises UserError as `read_encoder_run`, and for a run whose cell is in a Python file that isn't trusted, unless
    another cell is given.
    """
    name = given.get("--from", "None")
    if name in ("None", "") or name.startswith("--"):
        return None
    run = read_encoder_run(Path(name))
    if "--cell" not in given:
        try:
            check_trusted(run.folder, read_run(run.folder), then="give --cell")
        except ValueError as error:
            raise UserError("--from", f"{error}") from None
    return run


def net_of(run: EncoderRun, network: NetworkConfig) -> dict[str, Any]:
    """Returns the options of the net of a run, in place of those of a config with this network."""
    built = run.config["network"]
    same = {name: built[name] for name in ("depth", "direction", "connections")}
    return {
        "from_": run.folder,
        "cell": run.config["cell"],
        "hidden_size": run.config["hidden_size"],
        "network": replace(network, **same),
    }


def handed_on(params: Any, run: EncoderRun, *, whole: bool = False) -> dict[str, Array]:
    """Returns the arrays of a run that fit a model's parameters, by the names that they have there.

    An array fits if its name and shape are the same. Of an embedding the first rows, those of the vocabulary, are
    enough. Where a run tells two spans apart and the model doesn't, the vector of the first span is added to its
    embedding: a sentence is read as a first span.

    Args:
        params: as the model is initialised, or their shapes.
        run: whose arrays they are.
        whole: True to take what reads the encoder out too.
    """
    own = {leaf_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params["params"])}
    arrays = dict(run.arrays)
    if SPANS in arrays and SPANS not in own:
        arrays[EMBEDDING] = arrays[EMBEDDING] + arrays[SPANS][:1]
    found = {}
    for name, leaf in own.items():
        canonical = EMBEDDING if name == "embedding/embedding" else name
        array = arrays.get(canonical)
        if array is None or not (whole or is_encoder(canonical)):
            continue
        if canonical == EMBEDDING and array.shape[1] == leaf.shape[1]:
            found[name] = array[: len(leaf)]
        elif array.shape == leaf.shape:
            found[name] = array
    return found


def begin_with(params: Params, run: EncoderRun, *, whole: bool = False) -> tuple[Params, str]:
    """Returns parameters that begin with a run's, as `handed_on`, and a sentence that says how many do."""
    found = handed_on(params, run, whole=whole)
    own = {leaf_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params["params"])}

    def chosen(path: Any, leaf: Array) -> Array:
        array = jnp.asarray(found.get(leaf_name(path[1:]), leaf), leaf.dtype)
        return array if array.shape == leaf.shape else leaf.at[: len(array)].set(array)

    encoder = [name for name in own if is_encoder(name)]
    taken = [name for name in encoder if name in found]
    numbers = sum(own[name].size for name in taken) / sum(own[name].size for name in encoder)
    parts = [f"{len(taken)} of {len(encoder)} arrays of the encoder ({numbers:.1%} of its numbers)"]
    if others := [name for name in found if name not in taken]:
        parts.append(f"{len(others)} others ({', '.join(others)})")
    random = sorted({name for name in own if name not in found} - set(encoder))
    lost = [name for name in encoder if name not in found]
    at_random = [f"at random: {', '.join([*lost, *random])}"] if lost or random else []
    text = f"begins with {run.described()}: {'; '.join([' and '.join(parts), *at_random])}"
    return jax.tree.map_with_path(chosen, params), text


def check_begins(params: Any, run: EncoderRun) -> None:
    """Raises UserError where no array of the layer of a run fits a model's parameters, or their shapes."""
    if not any(name.startswith("recurrent/") for name in handed_on(params, run)):
        raise UserError(
            "--from",
            f"{run.described()} has no layer like this one: leave out --cell, --hidden-size, --depth, --direction "
            "and --embedding-size, which are then the run's",
        )


def check_same_vocabulary(run: EncoderRun, tokenizer: Tokenizer) -> None:
    """Raises UserError where the ids of a text don't stand for what they do in a run."""
    words = run.words
    if isinstance(words, TokenEncoder) and vocabulary_digest(words.tokenizer) == vocabulary_digest(tokenizer):
        return
    raise UserError(
        "--from",
        f"{run.described()} has another vocabulary, of {len(words.vocabulary):,} types, than this text, of "
        f"{len(tokenizer.vocabulary):,}: give the text and the --data options that it was trained with",
    )


def is_encoder(name: str) -> bool:
    """Tells whether a parameter is one of the encoder."""
    return name.split("/")[0] in ENCODER or name == "embedding/embedding"
