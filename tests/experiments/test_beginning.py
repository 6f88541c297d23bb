"""`--from RUN`: which arrays a run hands on, what they compute, what is refused, and training with them."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data import TokenEncoder, Vocabulary
from data.text.tokenizers import Words
from experiments.harness.files import write_json
from experiments.harness.options import describe
from experiments.labelling import key_terms_task, sentiment_task
from experiments.labelling.config import first_params
from experiments.pretrained.beginning import begin_with, check_begins
from experiments.pretrained.encoder_run import EMBEDDING, EncoderRun, read_encoder_run
from experiments.registry import read_options
from experiments.words.bert import first_params as bert_params
from models import MaskedLanguageModel, TextClassifier, TokenReader, Transformer, WordReader
from models.cell import Params
from tests.experiments.command import command, newest_checkpoint, untimed
from tests.experiments.conftest import alone
from tests.experiments.labelling.test_sentiment import SMALL as SENTIMENT
from tests.experiments.words.test_bert import SMALL as BERT
from train import Checkpoints, create_state
from train.state import leaf_name

V, E = 7, 4
DOCUMENTS = ("--data.documents", 60, "--data.test", 10, "--data.valid", 10)
DATA = ("--data.sentences", 60, "--data.held-out", 12)
CELL = Transformer(8, layers=1, heads=2, causal=False)


@cache
def masked_model() -> tuple[MaskedLanguageModel, Params]:
    """A model of V words, and parameters of all its parts, none of them zero."""
    model = MaskedLanguageModel(CELL, V, E)
    ids = jnp.zeros((3, 1), jnp.int32)
    params = jax.jit(partial(model.init, method="answers"))(jax.random.key(0), ids, ids, ids[:1])
    rng = np.random.default_rng(0)
    return model, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params)


def named(params: Params) -> dict[str, jax.Array]:
    return {leaf_name(path): leaf for path, leaf in jax.tree.leaves_with_path(params["params"])}


def as_run(params: Params) -> EncoderRun:
    """A run with these parameters."""
    arrays = named(params)
    arrays[EMBEDDING] = arrays.pop("embedding/embedding")
    words = Words(Vocabulary(("<unk>", "<eos>", *"abcde"), (1,) * V, end="<eos>"))
    return EncoderRun(Path("runs/a"), "bert", {}, TokenEncoder(words, 3, True), arrays, 5)


def classifier(cell: Transformer = CELL, size: int = E) -> tuple[TextClassifier, Params]:
    model = TextClassifier(WordReader(TokenReader(V + 3, size)), cell, 2)
    return model, jax.jit(model.init)(jax.random.key(1), jnp.zeros((1, 1, 1), jnp.int32))


def test_a_classifier_reads_a_sentence_as_the_masked_model_does() -> None:
    """The outputs of its layer are those for a first span; all that reads them out is its own."""
    masked, given = masked_model()
    model, params = classifier()
    found, said = begin_with(params, as_run(given))
    ids = jax.random.randint(jax.random.key(2), (6, 2), 0, V + 3)
    read = jax.jit(partial(model.apply, method=lambda self, ids: self.outputs(self.read(ids, None), None)))
    wanted: Any = jax.jit(masked.apply)(given, ids)
    np.testing.assert_allclose(read(found, ids[..., None]), wanted, rtol=1e-5, atol=1e-5)
    before, after = named(params), named(found)
    new = {name for name in before if np.array_equal(before[name], after[name])}
    assert new == {name for name in before if not name.startswith(("reader", "recurrent"))}
    encoder = len(before) - len(new)
    assert f"begins with runs/a (bert, step 5): {encoder} of {encoder} arrays of the encoder (100.0%" in said
    assert "at random: pooling/attention/bias, " in said


def test_what_has_another_shape_begins_at_random() -> None:
    """An embedding of another size, and all of a layer of another width, which is refused."""
    run = as_run(masked_model()[1])
    params = classifier(size=E + 1)[1]
    found, said = begin_with(params, run)
    np.testing.assert_array_equal(named(found)[EMBEDDING], named(params)[EMBEDDING])
    assert "at random: reader/words/embedding, recurrent/cell/layers/0/kernel, " in said
    check_begins(params, run)
    other = classifier(replace(CELL, hidden_size=12, feed_forward=5))[1]
    with pytest.raises(
        ValueError, match=r"^--from runs/a \(bert, step 5\) has no layer like this one: leave out "
    ):
        check_begins(other, run)


def test_a_language_model_takes_the_rows_of_the_words() -> None:
    """Of V + 3 rows the first V; and with `whole` what reads the words out, but for what it hasn't got."""
    given = as_run(masked_model()[1])
    own = {"embedding": {"embedding": jnp.zeros((V, E))}, "bias": jnp.zeros(V), "kernel": jnp.zeros((8, V))}
    for whole in (False, True):
        run = replace(given, arrays={**given.arrays, "bias": jnp.arange(V) + 1.0})
        found, said = begin_with({"params": own | {"recurrent": {"a": jnp.ones(3)}}}, run, whole=whole)
        expected = run.arrays[EMBEDDING][:V] + run.arrays["spans/embedding"][:1]
        np.testing.assert_array_equal(found["params"]["embedding"]["embedding"], expected)
        assert found["params"]["bias"].tolist() == (list(range(1, V + 1)) if whole else [0] * V)
        assert ("1 others (bias)" in said) == whole


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of pos_tagging as it stands when it is finished, its weights drawn."""
    folder = tmp_path_factory.mktemp("tagger")
    options = ["--cell", "elman", "--hidden-size", "6", "--embedding-size", "5", "--character-size", "4"]
    config: Any = read_options("pos_tagging", [*options, "--data.sentences", "300"]).config
    codes = config.text.codes
    state = create_state(
        first_params(config.build(codes), codes.words, 7), config.optimizer, jax.random.key(0)
    )
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        checkpoints.save(20, state)
    (folder / "words.json").write_bytes(codes.words.to_json())
    write_json(folder / "config.json", describe("pos_tagging", config))
    write_json(folder / "results.json", {})
    return folder


@pytest.fixture(scope="session")
def bert(shared: Path) -> Path:
    """A finished run of bert, that of its own tests; to be read only."""
    with alone(shared, "bert") as folder:
        if not (folder / "results.json").exists():
            assert command("bert", *BERT, "--devices", 1, "--run-dir", folder) == 0
    return folder


def config_of(name: str, *options: Any) -> Any:
    """The config that a command line gives, checked."""
    config = read_options(name, [str(word) for word in options]).config
    config.check()
    return config


@pytest.mark.parametrize(
    "name", ["slot_filling", "sentiment", pytest.param("key_terms", marks=pytest.mark.slow)]
)
def test_before_the_first_step(name: str, tagger: Path) -> None:
    """The net is that of the run, and so are the words and all weights of the encoder."""
    config = config_of(name, "--from", tagger, *(DOCUMENTS if name == "key_terms" else DATA))
    assert (config.cell, config.hidden_size, config.model.embedding_size) == ("elman", 6, 5)
    run = read_encoder_run(tagger)
    if name == "slot_filling":
        task, words = config.task(), config.text.codes.words
    elif name == "sentiment":
        task, words = sentiment_task.sentiment_task(config, 1), sentiment_task.encoder_of(config, 1)
    else:
        task, words = key_terms_task.key_terms_task(config), key_terms_task.encoder_of(config)
    assert words == run.words
    assert task.initial is not None
    params = named(task.initial(0))
    encoder = [leaf for leaf in params if leaf.startswith(("reader", "recurrent"))]
    assert len(encoder) > 5
    for leaf in encoder:
        np.testing.assert_array_equal(params[leaf], run.arrays[leaf])


def test_mistakes(tagger: Path, refused: Callable[..., None], tmp_path: Path) -> None:
    """Refused before the run's folder is made."""
    refused("--from nowhere is not a run folder", "sentiment", "--from", "nowhere")
    refused("--from is missing: --preset sst2_from", "sentiment", "--preset", "sst2_from", "--data.dir", ".")
    given = ("sentiment", "--from", tagger, *DATA)
    refused("has no layer like this one: leave out --cell", *given, "--cell", "gru")
    refused("--characters none isn't how", *given, "--characters", "none")
    refused("--embedding gives the embedding, as --from does", *given, "--embedding", "a")
    refused("has another vocabulary, of ", "char_lm", *given[1:3])
    (tmp_path / "train.tsv").write_text("ein satz\t0\nein anderer satz\t1\n" * 20)
    (tmp_path / "test.tsv").write_text("ein satz\t0\n")
    files = ("--data.dir", tmp_path, "--data.cache", tmp_path / "cache")
    refused("has another vocabulary, to which 100% of the words", *given[:3], *files)
    other = tmp_path / "other"
    shutil.copytree(tagger, other)
    (other / "results.json").unlink()
    refused("is not finished: resume it with --resume", "sentiment", "--from", other)
    write_json(other / "results.json", {})
    shutil.rmtree(other / "checkpoints")
    refused("has no checkpoint", "sentiment", "--from", other)
    write_json(other / "config.json", {"experiment": "adding", "config": {}})
    refused("is a run of adding, which has no encoder of text", "sentiment", "--from", other)


@pytest.mark.full
def test_a_classifier_from_bert(bert: Path, tmp_path: Path) -> None:
    """Trains, says what it begins with, draws its tokens, and is resumed to the same bits."""
    options = ("--from", bert, "--no-compare-forward", *SENTIMENT)
    options = tuple(word for word in options if word not in ("--hidden-size", "--embedding-size", 4, 6))
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert command("sentiment", *options, "--run-dir", whole) == 0
    shutil.copytree(whole, part)
    for path in (part / "nets" / "both_1" / "checkpoints" / "20", part / "arrays" / "nets"):
        shutil.rmtree(path)
    (part / "results.json").unlink()
    assert command("sentiment", *options, "--resume", part) == 0
    places = [folder / "nets" / "both_1" for folder in (whole, part)]
    assert newest_checkpoint(places[0]) == newest_checkpoint(places[1])
    assert untimed(places[0]) == untimed(places[1])
    found = read_encoder_run(whole)
    assert isinstance(found.words, TokenEncoder)
    assert found.words == replace(read_encoder_run(bert).words, framed=True)  # type: ignore[type-var]


@pytest.mark.full
def test_bert_goes_on_from_itself(bert: Path) -> None:
    """All its arrays are those of the run; a text of other words is refused."""
    given = [
        str(word)
        for word in BERT
        if word not in ("--cell", "--hidden-size", "transformer(layers=1, heads=2)", 8)
    ]
    config = read_options(
        "bert", ["--from", str(bert), *given[given.index("--data.vocabulary-limit") :]]
    ).config
    config.check()
    params = named(bert_params(config, config.model(len(config.corpus.tokenizer.vocabulary)), 3))
    run = read_encoder_run(bert)
    assert len(params) == len(run.arrays)
    for name, leaf in params.items():
        np.testing.assert_array_equal(leaf, run.arrays[EMBEDDING if name == "embedding/embedding" else name])
    with pytest.raises(ValueError, match=r"has another vocabulary, of 602 types, than this text, of"):
        read_options("bert", ["--from", str(bert)]).config.check()
