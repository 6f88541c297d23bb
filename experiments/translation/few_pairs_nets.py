"""The nets that few pairs train: their options, what each may know of the pairs, and their tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from data import Pair, PairExample, ParallelConfig, ParallelText, pair_batches
from data.batch import Batches
from data.synthetic.pairs import part_dictionary
from data.text.parallel import ParallelSplit
from experiments.encoder_decoder.search import SearchConfig
from experiments.encoder_decoder.systems import ModelConfig, System
from experiments.harness.checks import check_at_least, check_distinct
from experiments.harness.processes import process_shard
from experiments.task import RenewedData, Task
from experiments.training import Flat
from experiments.translation.back_translation import OneSided, pack, unpack
from experiments.translation.config import TranslationConfig
from experiments.translation.task import translation_task
from models import EncoderDecoder
from models.cell import Params
from train import LoopConfig, OptimizerConfig

Net = Literal["few", "back", "unsupervised", "all"]
NAMES: Mapping[str, str] = {
    "few": "few pairs",
    "reverse": "reverse",
    "back": "back-translation",
    "unsupervised": "no pairs",
    "all": "all pairs",
}


@dataclass(frozen=True)
class FewPairsConfig(TranslationConfig):
    """The options of nets that learn from few pairs."""

    nets: Annotated[
        tuple[Net, ...],
        tyro.conf.arg(
            help="The nets side by side. few: the pairs alone; back: and translations back; unsupervised: no "
            "pairs, but a dictionary; all: every pair."
        ),
    ] = ("few", "back", "unsupervised", "all")
    pairs: int = 100
    """Pairs that are given; of the other training pairs only one side is."""
    every: int = 100
    """Steps after which unsupervised translates anew."""
    made: int = 1000
    """Sentences of each language that unsupervised translates at a time, and as many that it damages."""
    system: System = "attention"
    """The model of every net, as in translation."""
    data: ParallelConfig = field(
        default_factory=lambda: ParallelConfig(kind="parts", count=6000, held_out=300)
    )
    model: Annotated[ModelConfig, Flat] = field(
        default_factory=lambda: ModelConfig(hidden_size=64, attention="outputs", score="general", dropout=0.1)
    )
    search: Annotated[SearchConfig, Flat] = field(
        default_factory=lambda: SearchConfig(width=1, normalise="none")
    )
    select: Literal["bleu", "exact", "loss"] = "exact"
    """Choose the best checkpoint by this: BLEU, lower-cased, exact match or the loss on the validation pairs. Of
    unsupervised the last is tested, since pairs would choose it."""
    score_every: int = 1
    """Translate the validation pairs at every N-th evaluation, and at the last."""
    batch_size: int = 48
    """Pairs per step, B."""
    loop: Annotated[LoopConfig, Flat] = field(
        default_factory=lambda: LoopConfig(steps=600, eval_every=150, save_every=150)
    )
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=5e-3, schedule="warmup_cosine", warmup_steps=50)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(1, pairs=self.pairs, every=self.every, made=self.made)
        check_distinct(nets=self.nets)

    @property
    def unsupervised(self) -> bool:
        """Tells whether a net without pairs is asked for."""
        return "unsupervised" in self.nets

    @property
    def trained(self) -> list[str]:
        """Returns the nets in the order of training: reverse before back, which needs its translations."""
        return [one for net in self.nets for one in (("reverse", net) if net == "back" else (net,))]

    @property
    def title(self) -> str:
        """Returns what is translated, and of how many pairs."""
        return f"translation {self.data.source} → {self.data.target} of {self.pairs:,} pairs"

    @cached_property
    def few(self) -> ParallelText:
        """Returns the text with the first training pairs alone."""
        return with_split(self.text, "train", *(part[: self.pairs] for part in self.text.split("train")))

    @cached_property
    def one_sided(self) -> list[PairExample]:
        """Returns the other training pairs, of each of which one side alone is used."""
        return list(self.text.split("train").examples[self.pairs :])

    @cached_property
    def languages(self) -> OneSided:
        """Returns the sources of half of the other pairs and the targets of the rest, and the dictionary."""
        half = len(self.one_sided) // 2
        sources = [pair.inputs for pair in self.one_sided[:half]]
        targets = [pair.targets for pair in self.one_sided[half:]]
        names: Any = (self.data.source, self.data.target)
        dictionaries = part_dictionary(*names[::-1]), part_dictionary(*names)
        return OneSided((sources, targets), self.text.source, dictionaries, self.made)

    @property
    def bound(self) -> tuple[int, int]:
        """Returns the most pieces of a source and of a target."""
        return self.buckets(self.text)[0][-1]


def reversed_text(text: ParallelText) -> ParallelText:
    """Returns a text whose sources are the targets."""
    splits = {
        name: ParallelSplit(
            [Pair(target, source) for source, target in pairs],
            [PairExample(targets, inputs) for inputs, targets in examples],
        )
        for name, (pairs, examples) in text.splits.items()
    }
    return replace(text, splits=splits, source=text.target, target=text.source)


def text_of(config: FewPairsConfig, net: str) -> ParallelText:
    """Returns the pairs of a net; of `back` those known before anything is translated, of `unsupervised` those that
    it is tested on, with the mark of the target language."""
    match net:
        case "reverse":
            return reversed_text(config.few)
        case "all":
            return config.text
        case "unsupervised":
            return marked_text(config.few, config.languages)
    return config.few


def marked_text(text: ParallelText, languages: OneSided) -> ParallelText:
    """Returns a text with the mark of the target language in front of each source."""
    for name, (pairs, examples) in text.splits.items():
        marked = [PairExample(languages.marked(ids, 1), targets) for ids, targets in examples]
        text = with_split(text, name, pairs, marked)
    return text


def net_task(config: FewPairsConfig, net: str, made: Any = None) -> Task:
    """Builds the task of a net; `made()` gives the pairs that `back` learns from beside those given."""
    if net == "unsupervised":
        return unsupervised_task(config)
    text = text_of(config, net)
    task = translation_task(config, config.system, text)
    if net != "back":
        return task
    bounds, sizes = config.buckets(config.text)

    def train(seed: int, rows: int) -> Batches:
        examples = list(config.few.split("train").examples)
        others = made()
        repeated = examples * max(len(others) // len(examples), 1)  # as many of either
        return pair_batches(repeated + others, batch_size=sizes, seed=seed, bounds=bounds, **process_shard())

    return replace(task, data=replace(task.data, train=train))


def unsupervised_task(config: FewPairsConfig) -> Task:
    """Builds the task of a model of both languages, with a mark for each, that is given no pair."""
    languages, most = config.languages, max(config.bound)
    task = translation_task(config, config.system, text_of(config, "unsupervised"))
    model = task.model
    assert isinstance(model, EncoderDecoder)

    def batches(pairs: list[PairExample], seed: int, rows: int) -> Batches:
        fit = [pair for pair in pairs if len(pair.inputs) <= most + 1]
        options: Any = {"bounds": [(most + 1, most)], **process_shard()}
        return pair_batches(fit, batch_size=rows, seed=seed, **options)

    def make(params: Params, epoch: int) -> dict[str, np.ndarray]:
        return pack(languages.next(model, params, epoch, config.seed, most))

    renewed = RenewedData(config.every, make, lambda arrays, seed, rows: batches(unpack(arrays), seed, rows))
    data = replace(
        task.data,
        train=lambda seed, rows: batches(languages.first(config.seed), seed, rows),
        renewed=renewed,
    )
    return replace(task, data=data)


def with_split(text: ParallelText, name: str, pairs: Any, examples: Any) -> ParallelText:
    """Returns a text with another split of that name."""
    return replace(text, splits={**text.splits, name: ParallelSplit(pairs, examples)})
