"""`python -m experiments NAME [--option value …]`."""

import dataclasses
import difflib
import importlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

NAMES = (
    "adding",
    "copy_memory",
    "temporal_order",
    "digits",
    "gradients",
    "jacobian_spectra",
    "lyapunov",
    "edge_of_chaos",
    "cliff",
    "clipping",
    "flossing",
    "fixed_points",
    "claims",
    "long_memory",
    "speed",
    "ngram",
    "language_model",
    "char_lm",
    "families",
)
COMMANDS = ("generate", "inspect", "report")  # what looks at runs
ROOT = Path(__file__).resolve().parent.parent
OURS = tuple(str(ROOT / package) for package in ("models", "train", "data", "analysis", "experiments"))


def main(arguments: list[str]) -> int:
    """Runs what the command line names; 0 when done, 2 for a user's mistake, 128 + signal when stopped."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if name == "inspect":
            return inspect(rest)
        if name == "report":
            return report(rest)
        if name == "generate":
            from experiments import generation

            return generation.main(rest)
        if name not in NAMES:
            near = difflib.get_close_matches(name, [*NAMES, *COMMANDS], n=1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else f"there are {', '.join([*NAMES, *COMMANDS[:-1]])} and {COMMANDS[-1]}."
            )
            raise ValueError(f"unknown experiment {name!r}: {hint}")
        return run(name, rest)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not raised_by_us(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(name: str, arguments: list[str]) -> int:
    """One experiment in its folder."""
    import tyro

    from experiments.presets import default_config
    from experiments.run import Launch, open_run, take_devices
    from experiments.training import Stopped
    from train import NonFinite

    module = importlib.import_module(f"experiments.{name}")
    flat = tyro.conf.arg(name="")
    default = default_config(module, arguments)
    options = dataclasses.make_dataclass(
        "Options",
        [
            ("config", Annotated[module.Config, flat], dataclasses.field(default_factory=lambda: default)),
            ("launch", Annotated[Launch, flat], dataclasses.field(default_factory=Launch)),
        ],
    )
    given: Any = tyro.cli(
        options,
        args=with_resume_value(arguments),
        prog=f"python -m experiments {name}",
        description=str(module.__doc__),
    )
    devices = take_devices(name, given.launch)  # before anything is computed
    given.config.check()
    signal.signal(signal.SIGTERM, terminate)
    here = open_run(name, given.config, given.launch, devices, pinned=getattr(module, "PINNED", ()))
    print(f"run folder: {here.folder}", flush=True)
    try:
        said = module.main(given.config, here)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal
    except Terminated:
        print(f"stopped; go on with the same command and --resume {here.folder}", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:  # outside training, or the second one
        print(f"interrupted; go on with the same command and --resume {here.folder}", file=sys.stderr)
        return 128 + signal.SIGINT
    except NonFinite as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(said)
    print(f"look at: {here.folder / 'figures'}")
    for path in sorted((here.folder / "figures").glob("*.png")):
        print(f"  {path}")
    return 0


class Terminated(BaseException):
    """SIGTERM came outside training, or a second one."""


def terminate(number: int, frame: Any) -> None:
    """SIGTERM leaves as Ctrl-C does."""
    raise Terminated


def inspect(arguments: list[str]) -> int:
    """Prints a run's config and last metrics, and redraws its figures from its arrays."""
    from experiments.inspection import inspect_run

    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print("usage: python -m experiments inspect RUN\n\n" + str(inspect.__doc__))
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    print(inspect_run(Path(arguments[0])))
    return 0


def report(arguments: list[str]) -> int:
    """Writes one HTML page of a run, or of several compared."""
    from experiments import report

    print(report.main(arguments))
    return 0


def with_resume_value(arguments: list[str]) -> list[str]:
    """`--resume` alone stands for `--resume newest`."""
    filled = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        filled.append(argument)
        if argument == "--resume" and following.startswith("-"):
            filled.append("newest")
    return filled


def overview() -> str:
    """All experiments with a line each."""
    lines = ["usage: python -m experiments NAME [--option value …]", ""]
    for name in NAMES:
        lines.append(f"  {name:<18}{first_line(name)}")
    lines.append(f"  {'generate RUN':<18}text from a trained language model, with --prompt, --temperature, …")
    lines.append(f"  {'inspect RUN':<18}a run's config and last metrics; draws its figures anew.")
    lines.append(f"  {'report RUN …':<18}one HTML page of a run, or of several compared.")
    return "\n".join([*lines, "", "python -m experiments NAME --help shows an experiment's options."])


def first_line(name: str) -> str:
    """The first line of an experiment's docstring, without importing it: a list must not wait for JAX."""
    with (Path(__file__).parent / f"{name}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def raised_by_us(error: BaseException) -> bool:
    """Whether our own code raised it, as a sentence for the user; any other is a fault and shows its traceback."""
    return traceback.extract_tb(error.__traceback__)[-1].filename.startswith(OURS)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if (
        code >= 128
    ):  # by a signal, maybe amid a compilation, which the end of the interpreter does not survive
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
