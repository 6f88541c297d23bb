"""Mark the key terms of documents, and rank them: precision, recall and F1 at 5, 10 and 15, beside TF-IDF.

By default documents of a grammar; --data.dir FOLDER reads texts NAME.txt with their key terms NAME.key, a term a
line, or Inspec.zip. The preset inspec trains on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.footprint import check_task_fits
from experiments.harness.files import read_arrays
from experiments.harness.run import Run
from experiments.labelling.key_terms_scores import METRICS, SELECTED, ceiling
from experiments.labelling.key_terms_task import (
    KeyTermsOptions,
    documents_of,
    encoder_of,
    key_terms_task,
    model_of,
)
from experiments.labelling.words import WordsConfig
from experiments.pretrained.encoder_run import WORDS
from experiments.run_task import run_task
from experiments.task_report import draw_task
from train import LoopConfig, OptimizerConfig
from train.files import write_file


@dataclass(frozen=True)
class Config(KeyTermsOptions):
    """Key terms."""

    def check(self) -> None:
        """Raises ValueError for faults of options and documents, before a run is begun."""
        super().check()
        train = [document.tokens for document in documents_of(self.data).splits["train"]]
        self.check_words(encoder_of(self), model_of(self), train)
        check_task_fits(key_terms_task(self), self)


PRESETS: Mapping[str, Config] = {
    "inspec": Config(
        preset="inspec",
        hidden_size=128,
        chain=True,
        model=WordsConfig(embedding_size=100, characters="convolution", word_dropout=0.1, vector_dropout=0.5),
        loop=LoopConfig(steps=800, eval_every=100, save_every=500),
        optimizer=OptimizerConfig(learning_rate=3e-3, schedule="warmup_cosine", warmup_steps=100),
    )
}


def main(config: Config, run: Run) -> str:
    """Trains, tests and draws; returns the report."""
    text = documents_of(config.data)
    exact, stemmed = ceiling(text.splits["test"])
    print(text.summary(), flush=True)
    print(
        f"  {exact:.1%} of the test documents' key terms stand in their texts, {stemmed:.1%} by their stems"
    )
    encoder = encoder_of(config)
    config.tell_known(encoder, (document.tokens for document in text.splits["train"]))
    write_file(run.folder / WORDS, encoder.to_json())
    # The documents of one dispatch are padded to one length.
    loop = config.loop if config.data.dir is None else replace(config.loop, chunk=1)
    report = run_task(run, key_terms_task(config), replace(config, loop=loop), label=config.label())
    draw(run.folder)
    return report


def draw(folder: Path) -> list[Path]:
    """Draws the held-out F1 of a finished run, and documents whose words are coloured, from its arrays."""
    from analysis.figures.style import save
    from analysis.figures.words import WordRow, words_figure

    found = read_arrays(folder, "measured")
    places = [name.removeprefix("words|") for name in found if name.startswith("words|")][:4]
    rows = [
        WordRow(
            [f"*{w}" if gold else w for w, gold in zip(found[f"words|{p}"], found[f"gold|{p}"], strict=True)],
            found[f"inside|{p}"],
            str(number),
        )
        for number, p in enumerate(places, 1)
    ]
    figure = words_figure(rows, "probability that a word is in a key term; a star marks those that are")
    return [*draw_task(folder, METRICS, SELECTED), *save(figure, folder / "figures", "documents")]
