"""The options that the experiments on labels share: how words are read, and with which weights a net begins."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from data import Batch, SentenceEncoder, TokenEncoder
from experiments.embedding import EmbeddingFile, read_embedding, with_embedding
from experiments.harness.errors import UserError
from experiments.labelling.words import WordsConfig
from experiments.network import NetworkConfig
from experiments.pretrained.beginning import FromRun, begin_with, check_begins, net_of, run_given
from experiments.pretrained.encoder_run import EncoderRun, read_encoder_run
from experiments.training import Flat, TrainingConfig
from models.cell import Params

MOST_UNKNOWN = 0.5  # share of training words outside a run's vocabulary that says that it is another one's


@dataclass(frozen=True)
class LabellingConfig(TrainingConfig):
    """The options of an experiment that labels words, sentences or documents."""

    preset: str | None = None
    """Options of a setting on real data; options given explicitly override it."""
    data: Any = None
    """Which text; each experiment has its own kind."""
    model: Annotated[WordsConfig, Flat] = field(default_factory=WordsConfig)
    embedding: EmbeddingFile = None
    from_: FromRun = None
    network: Annotated[NetworkConfig, Flat] = field(default_factory=lambda: NetworkConfig(direction="both"))

    def as_default(self, given: Mapping[str, str]) -> "LabellingConfig":
        """Returns this config as the default beside the options `given` on the command line: the net is that of the
        run of `--from`. Raises UserError as `run_given`."""
        run = run_given(given)
        if run is None:
            return self
        own = run.config.get("model", {})
        model = replace(
            self.model,
            embedding_size=run.embedding_size,
            characters=run.characters,
            character_size=own.get("character_size", self.model.character_size),
        )
        return replace(self, model=model, **net_of(run, self.network))

    @property
    def begins_from(self) -> EncoderRun | None:
        """Returns the run of `--from`."""
        return None if self.from_ is None else read_encoder_run(self.from_)

    def check(self) -> None:
        """Raises ValueError for options that don't go together, before a run is begun."""
        if self.loop.health.every:
            raise UserError("--health.every", "isn't measured of a net that reads words: leave it out")
        super().check()
        if self.preset is not None and self.data.dir is None:
            raise UserError("--data.dir", f"is missing: --preset {self.preset} is for real text in a folder")
        if self.from_ is not None and self.embedding is not None:
            raise UserError("--embedding", "gives the embedding, as --from does: leave one of them out")

    def check_words(
        self, encoder: SentenceEncoder, model: nn.Module, sentences: Sequence[Sequence[str]]
    ) -> None:
        """Raises UserError where a batch is more than all training sentences, or where the vectors of `--embedding`
        or the run of `--from` don't fit their words, or the model."""
        if self.embedding is not None:
            read_embedding(self.embedding, encoder.vocabulary, self.model.embedding_size, seed=self.seed)
        if self.begins_from is not None:
            self.check_run(self.begins_from, encoder, model, sentences)
        if self.batch_size > len(sentences):
            raise UserError(
                "--batch-size",
                f"{self.batch_size} is more than the {len(sentences)} training examples: take less",
            )

    def check_run(
        self, run: EncoderRun, encoder: SentenceEncoder, model: nn.Module, sentences: Sequence[Sequence[str]]
    ) -> None:
        """Raises UserError where a run doesn't fit the words of the training sentences, or the model."""
        if self.model.characters != run.characters:
            raise UserError(
                "--characters",
                f"{self.model.characters} isn't how {run.folder} reads words, which has {run.characters}: leave it "
                "out",
            )
        unknown = encoder.unknown_share(sentences)
        if unknown > MOST_UNKNOWN:
            raise UserError(
                "--from",
                f"{run.described()} has another vocabulary, to which {unknown:.0%} of the words here are unknown: "
                "name a run on text like this",
            )
        check_begins(jax.eval_shape(lambda: first_params(model, encoder, 0)), run)

    def tell_known(self, encoder: SentenceEncoder, sentences: Iterable[Sequence[str]]) -> None:
        """Prints what share of the words of the training sentences the run of `--from` knows."""
        if self.from_ is not None:
            known = 1 - encoder.unknown_share(sentences)
            print(f"  {self.from_} knows {known:.1%} of the words of the training text", flush=True)

    def one_row_a_word(self) -> SentenceEncoder | None:
        """Returns how the run of `--from` reads words, a row for each, without marks around; None without a run.

        Raises UserError for a run that reads pieces of words."""
        run = self.begins_from
        if run is None or not isinstance(run.words, TokenEncoder):
            return None if run is None else run.words
        if not run.words.of_words:
            raise UserError(
                "--from",
                f"{run.described()} reads pieces of words, and here every word has a label: name a run that reads "
                "whole words (--data.unit word)",
            )
        return replace(run.words, framed=False)

    def initial(self, model: nn.Module, encoder: SentenceEncoder, seed: int) -> Params:
        """Draws a model's parameters, and puts those of the run of `--from`, or the vectors of `--embedding`, in
        their place; prints how many there are."""
        params = first_params(model, encoder, seed)
        if self.from_ is not None:
            params, text = begin_with(params, read_encoder_run(self.from_))
        elif self.embedding is not None:
            size = self.model.embedding_size
            found = read_embedding(self.embedding, encoder.vocabulary, size, seed=seed)
            params, text = with_embedding(params, found.matrix, ("reader", "words", "embedding")), found.text
        else:
            return params
        print(text, flush=True)
        return params


def first_params(model: nn.Module, encoder: SentenceEncoder, seed: int) -> Any:
    """Draws the parameters of a model that reads rows of words."""
    rows: Any = jnp.zeros((1, 1, encoder.columns), jnp.int32)
    return jax.jit(model.init)(jax.random.fold_in(jax.random.key(seed), 1), rows)


def batch_shapes(encoder: SentenceEncoder, steps: int, rows: int, targets: tuple[int, ...]) -> Batch:
    """Returns the shapes of a batch of so many rows of words, with targets of this shape."""
    shape: Any = jax.ShapeDtypeStruct
    inputs = shape((steps, rows, encoder.columns), jnp.int32)
    return Batch(inputs, shape(targets, jnp.int32), shape((steps, rows), jnp.bool_))


def digest_of(encoder: SentenceEncoder) -> dict[str, str]:
    """Returns what says in checkpoints that a run has the same words: sixteen hexadecimal digits by a name."""
    return {"the words": hashlib.sha256(encoder.to_json()).hexdigest()[:16]}
