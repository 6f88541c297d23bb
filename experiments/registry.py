"""The experiments by subject and name: their modules, their lines of help, their options."""

import dataclasses
import difflib
import importlib
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from experiments.harness.options import LATEST
from experiments.harness.terminal import program, terminal_width

SUBJECTS = {
    "memory": ("adding", "copy_memory", "temporal_order", "digits", "mnist", "long_memory", "gated_cells"),
    "gradients": (
        "gradients",
        "initial_gradients",
        "jacobian_spectra",
        "lyapunov",
        "edge_of_chaos",
        "cliff",
        "clipping",
        "flossing",
        "fixed_points",
        "attention_paths",
    ),
    "depth": ("depth", "elman_depth"),
    "language": ("ngram", "language_model", "char_lm", "families", "scaling"),
    "translation": (
        "translation",
        "few_pairs",
        "captions",
        "dialogue",
        "summaries",
        "translation_analysis",
        "source_gradients",
    ),
    "parsing": ("parsing",),
    "autoencoders": ("autoencoder", "skip_thought", "sentence_probes", "hierarchical"),
    "labelling": ("slot_filling", "pos_tagging", "sentiment", "key_terms"),
    "series": ("forecast", "music"),
    "words": ("word_vectors", "bert"),
    "machines": ("turing_tasks", "turing_gradients", "babi", "image_rows", "spoken_recall"),
    "speech": ("speech", "speech_gradients", "speech_translation", "audio_segments"),
}
SHARED = ("claims", "speed")  # of no one subject
MODULES = {name: f"experiments.{subject}.{name}" for subject, names in SUBJECTS.items() for name in names}
MODULES |= {name: f"experiments.{name}" for name in SHARED}
NAMES = tuple(MODULES)
# Those whose runs generate text, and the module that draws it.
GENERATORS = {
    "language_model": "experiments.language.generate",
    "char_lm": "experiments.language.generate",
    "translation": "experiments.translation.generate",
}
# Commands of one subject, with their modules.
SUBJECT_COMMANDS = {
    "label": "experiments.labelling.label",
    "neighbours": "experiments.words.neighbours",
    "analogy": "experiments.words.analogy",
    "recognise": "experiments.speech.recognise",
}
# Commands that take what follows as it is, with their modules.
PLAIN = SUBJECT_COMMANDS | {
    "export": "experiments.export",
    "contract": "experiments.contract",
    "completion": "experiments.completion",
}
# The experiments whose runs a command reads.
READS = {
    "generate": tuple(GENERATORS),
    "label": ("slot_filling", "pos_tagging"),
    "neighbours": ("word_vectors",),
    "analogy": ("word_vectors",),
    "recognise": ("speech",),
    "export": NAMES,
    "inspect": (*NAMES, "sweep"),
    "report": (*NAMES, "sweep"),
}
ALONE = {
    "--resume": "newest",
    "--wandb": "offline",
}  # options that may stand without a value, and what it is then
# What --help lists of the options of training, net and run; --help-all lists the others too.
COMMON = {
    "loop.steps",
    "loop.precision",
    "loop.health.every",
    "network.depth",
    "network.dropout",
    "optimizer.name",
    "optimizer.learning_rate",
    "optimizer.schedule",
    "launch.run_dir",
    "launch.config",
    "launch.resume",
    "launch.devices",
}
# Other spellings of options, for experiments that have no option of that name.
ALIASES = {"--optimizer": "--optimizer.name", "--learning-rate": "--optimizer.learning-rate"}
COMMANDS = {
    "generate": "Generate text from a run of a language model (--prompt, --temperature and more), or translate "
    "with a run of translation (--source, --width).",
    "label": "Print sentences with the slots or tags that a run of slot_filling or pos_tagging gives them.",
    "neighbours": "List the nearest words of each word, by the vectors of a run of word_vectors or of a file.",
    "analogy": "Find the words d for which a is to b as c is to d, by the same vectors.",
    "recognise": "Write down what a file of sound says, by a run of speech (--stream prints letters as they come).",
    "export": "Write the trained parameters of a run into a safetensors file, for other programs and libraries.",
    "contract": "Check a cell of your own, or a built-in one, against what every cell must do.",
    "inspect": "Print the config and last metrics of a run, and redraw its figures.",
    "sweep": "Run an experiment for every combination of options, over several seeds.",
    "report": "Write one HTML page about a run, or comparing several.",
    "completion": "Print a script for bash or zsh that completes names and options at the Tab key.",
}
ENDING = (
    "PROGRAM NAME --help shows the common options of an experiment, --help-all all of them. The word latest stands "
    "for the run begun last wherever a run is wanted.",
    "Compiled programs are cached in ~/.cache/unroll/compiled (or under $XDG_CACHE_HOME), 512 MB at most, so that "
    "later runs start at once; JAX_ENABLE_COMPILATION_CACHE=0 in the environment turns this off.",
)


def overview() -> str:
    """Lists all commands with their lines, the experiments by subject, as wide as the terminal."""
    width = terminal_width()
    groups = SUBJECTS | {"across subjects": SHARED}
    helped = {title: {name: first_line(name) for name in names} for title, names in groups.items()}
    lines = [f"usage: {program()} NAME [--option value …]", ""]
    for title, commands in (helped | {"with runs": COMMANDS}).items():
        entries = (
            textwrap.fill(line, width, initial_indent=f"  {name:<22}", subsequent_indent=" " * 24)
            for name, line in commands.items()
        )
        lines += [title, *entries, ""]
    ending = (textwrap.fill(text.replace("PROGRAM", program()), width) for text in ENDING)
    return "\n".join([*lines, "\n\n".join(ending)])


def first_line(name: str) -> str:
    """Reads the first line of an experiment's docstring without importing it: a list must not wait for JAX."""
    module = Path(__file__).parent.parent / MODULES[name].replace(".", "/")
    path = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    with path.open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def module_of(name: str) -> ModuleType:
    """Imports the module of an experiment, or of a sweep, whose folder is a run's too.

    Raises ValueError where there is none of that name."""
    if name not in (*NAMES, "sweep"):
        raise ValueError(unknown(name, NAMES))
    return importlib.import_module("experiments.sweep" if name == "sweep" else MODULES[name])


def read_known_run(folder: Path) -> dict[str, Any]:
    """Reads the config of a run, checked against the options of its experiment.

    Raises ValueError where the folder isn't a run's, the experiment is unknown, or a value has another type."""
    from experiments.harness.files import CONFIG, read_run, stored_config

    described = read_run(folder)
    try:
        module = module_of(described["experiment"])
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG} is damaged: {error}") from None
    stored_config(module.Config, folder)
    return described


def options_read(name: str) -> dict[str, tuple[str, ...]]:
    """Returns the experiments whose runs the options of an experiment read."""
    encoders = ("bert", "language_model", "char_lm", *SUBJECTS["labelling"])
    analysed = ("translation",) if name == "translation_analysis" else NAMES
    return {"--config": (name,), "--from": encoders, "--runs": analysed}


def generator_of(name: str, folder: Path | None = None) -> ModuleType:
    """Imports the module that generates text from runs of an experiment.

    Raises ValueError, naming the run's folder, where they generate none."""
    if name not in GENERATORS:
        raise ValueError(
            f"{folder} is a run of {name}, which makes no text: name one of {' or '.join(GENERATORS)}"
        )
    return importlib.import_module(GENERATORS[name])


def unknown(name: str, names: Sequence[str]) -> str:
    """Says what is wrong with a name that isn't one of those."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:-1])} and {names[-1]}."
    return f"unknown experiment {name!r}: {hint}"


def read_options(name: str, arguments: list[str]) -> Any:
    """Reads an experiment's options off the command line: its `config` and its `launch`."""
    import tyro

    from experiments.harness.command_line import read_command
    from experiments.harness.config_file import OPTION, read_config_file, with_values
    from experiments.harness.errors import name_options
    from experiments.harness.launch import Launch
    from experiments.harness.options import default_config, given_options, option_fields, option_name

    module = module_of(name)
    flat = tyro.conf.arg(name="")
    file = given_options(arguments).get(OPTION)
    values = {} if file is None else read_config_file(Path(file), name)
    default = default_config(module, arguments, values)
    if values:
        with name_options(option_fields(default)):
            default = with_values(default, values)
    fields = option_fields(default)
    arguments = with_aliases(arguments, set(map(option_name, fields)))
    rare = set(
        map(option_name, filter(is_rare, fields | {f"launch.{path}" for path in option_fields(Launch())}))
    )
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[module.Config, flat], dataclasses.field(default_factory=lambda: default)),
            ("launch", Annotated[Launch, flat], dataclasses.field(default_factory=Launch)),
        ],
    )
    with name_options(fields):
        return read_command(options, with_resume_value(arguments), name, module.__doc__, rare=rare)


def is_rare(path: str) -> bool:
    """Tells whether the help of an experiment lists an option only when asked for all: what tunes training, the net
    and the run, but for what is changed most."""
    return path.partition(".")[0] in ("loop", "network", "optimizer", "launch") and path not in COMMON


def with_aliases(arguments: list[str], options: set[str]) -> list[str]:
    """Puts options in place of their other spellings (`ALIASES`)."""
    spelt = {short: long for short, long in ALIASES.items() if long in options and short not in options}
    pairs = (argument.partition("=") for argument in arguments)
    return [spelt.get(option.replace("_", "-"), option) + equals + value for option, equals, value in pairs]


def with_resume_value(arguments: list[str]) -> list[str]:
    """Fills in `--resume newest` for `--resume` alone or with the word latest, and `--wandb offline`."""
    filled = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="--"):
        latest = argument == LATEST and filled[-1:] == ["--resume"] and not Path(LATEST).exists()
        filled.append("newest" if latest else argument)
        if argument in ALONE and following.startswith("-"):
            filled.append(ALONE[argument])
    return filled
