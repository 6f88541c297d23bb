"""`python -m experiments NAME [--option value …]`."""

import contextlib
import dataclasses
import difflib
import dis
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

from experiments.surroundings import check_file_limit, prepare_surroundings

# Before NumPy loads: its linear algebra on threads of its own beside XLA's is many times slower than on one.
for pool in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

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
# Those that train one net and then tell of it, which several processes can share.
IN_PROCESSES = ("adding", "copy_memory", "temporal_order", "digits", "language_model", "char_lm")
COMMANDS = ("generate", "inspect", "report", "sweep")  # what looks at runs, and what makes many
ROOT = Path(__file__).resolve().parent.parent
AS_PYTHON = warnings.formatwarning
OURS = tuple(str(ROOT / package) for package in ("models", "train", "data", "analysis", "experiments"))


def main(arguments: list[str]) -> int:
    """Runs what the command line names; 0 when done, 2 for a user's mistake, 128 + signal when stopped."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if name not in (*NAMES, *COMMANDS):
            raise ValueError(unknown(name, [*NAMES, *COMMANDS]))
        from experiments.compiled import keep_compiled_programs

        keep_compiled_programs()
        if name == "inspect":
            return inspect(rest)
        if name == "report":
            return report(rest)
        if name == "generate":
            from experiments import generation

            return generation.main(rest)
        if name == "sweep":
            from experiments import sweep

            return sweep.main(with_resume_value(rest))
        return run(name, rest)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return refused(error, arguments)
    finally:
        if "experiments.holding" in sys.modules:  # else nothing is held
            sys.modules["experiments.holding"].release()


def unknown(name: str, names: Sequence[str]) -> str:
    """Says what is wrong with a name that isn't one of those."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names[:-1])} and {names[-1]}."
    return f"unknown experiment {name!r}: {hint}"


def refused(error: Exception, arguments: Sequence[str] = ()) -> int:
    """Says what the user can mend; any other error is a fault of ours, and raised again."""
    if not isinstance(error, ValueError | OSError) or (
        isinstance(error, ValueError) and not raised_by_us(error)
    ):
        raise error
    from experiments.holding import in_a_sentence

    print(f"error: {in_a_sentence(error, arguments)}", file=sys.stderr, flush=True)
    return 2


def run(name: str, arguments: list[str]) -> int:
    """One experiment in its folder."""
    from experiments.joining import as_one

    given = read_options(name, arguments)
    if given.launch.processes.coordinator is not None and name not in IN_PROCESSES:
        raise ValueError(
            f"{name} does more than train one net, and runs in one process: leave --processes out "
            f"({', '.join(IN_PROCESSES)} take it)"
        )
    module = importlib.import_module(f"experiments.{name}")
    return as_one(
        given.launch.processes, lambda: carry_out(name, module, given.config, given.launch), refused
    )


def read_options(name: str, arguments: list[str]) -> Any:
    """Reads an experiment's options off the command line: its `config` and its `launch`."""
    import tyro

    from experiments.presets import default_config
    from experiments.run import Launch

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
    return tyro.cli(
        options,
        args=with_resume_value(arguments),
        prog=f"python -m experiments {name}",
        description=str(module.__doc__),
    )


def carry_out(name: str, module: Any, config: Any, launch: Any) -> int:
    """An experiment in its folder, its options being known."""
    from experiments.processes import check_divides, first, from_first, several
    from experiments.run import check_started_alike, open_run, take_devices
    from experiments.task import Stopped
    from train import NonFinite

    check_file_limit()
    check_started_alike(name, config, launch)
    devices = take_devices(name, launch)  # before anything is computed
    if several() > 1:
        check_divides(config.batch_size)
    from_first(config.check)  # what it prepares on disk is prepared once
    if not first():
        config.check()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    here = open_run(name, config, launch, devices, pinned=getattr(module, "PINNED", ()))
    print(f"run folder: {here.folder}", flush=True)

    def tell(said: Any) -> None:
        if first():
            print(said, file=sys.stderr, flush=True)

    try:
        said = module.main(config, here)
    except Stopped as stopped:
        tell(stopped)
        return 128 + stopped.signal
    except Terminated as terminated:
        tell(f"stopped; go on with the same command and --resume {here.folder}")
        return 128 + terminated.args[0]
    except KeyboardInterrupt:  # outside training, or the second one
        tell(f"interrupted; go on with the same command and --resume {here.folder}")
        return 128 + signal.SIGINT
    except NonFinite as error:
        tell(f"error: {error}")
        return 1
    print(said)
    print(f"look at: {here.folder / 'figures'}")
    for path in sorted((here.folder / "figures").glob("*.png")):
        print(f"  {path}")
    return 0


class Terminated(BaseException):
    """SIGTERM or SIGHUP, its number, came outside training, or a second one."""


def terminate(number: int, frame: Any) -> None:
    """SIGTERM and SIGHUP leave as Ctrl-C does."""
    raise Terminated(number)


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
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="--"):
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
    lines.append(f"  {'sweep NAME …':<18}an experiment for every combination of options, over several seeds.")
    lines.append(f"  {'report RUN …':<18}one HTML page of a run, or of several compared.")
    lines += [
        "",
        "python -m experiments NAME --help shows an experiment's options.",
        "",
        "Compiled programs are kept in ~/.cache/unroll/compiled (or $XDG_CACHE_HOME), 512 MB at most, so that",
        "later runs start at once; JAX_ENABLE_COMPILATION_CACHE=0 in the environment turns this off.",
    ]
    return "\n".join(lines)


def first_line(name: str) -> str:
    """The first line of an experiment's docstring, without importing it: a list must not wait for JAX."""
    with (Path(__file__).parent / f"{name}.py").open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def raised_by_us(error: BaseException) -> bool:
    """Tells whether a `raise` of our own did it, with a sentence for the user; any other, of Python in our own
    lines too, is a fault and shows its traceback."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    if at is None:
        return False
    code = at.tb_frame.f_code
    return code.co_filename.startswith(OURS) and dis.opname[code.co_code[at.tb_lasti]] == "RAISE_VARARGS"


def plainly(message: Warning | str, category: type[Warning], filename: str, *place: Any) -> str:
    """A warning of ours as a sentence; any other as Python shows it."""
    return (
        f"warning: {message}\n"
        if filename.startswith(OURS)
        else AS_PYTHON(message, category, filename, *place)
    )


def unless_closed(arguments: list[str]) -> int:
    """The exit code, 141 where who read our output has closed it, as other commands end then."""
    try:
        try:
            return main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at the end
        return 128 + signal.SIGPIPE
    except OSError as error:  # of the flush alone: main makes a sentence of every other
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            print(f"error: the output can't be written: {error.strerror}", file=sys.stderr, flush=True)
        return 2


if __name__ == "__main__":
    prepare_surroundings()
    warnings.formatwarning = plainly
    # While there is nothing to be left in order, Ctrl-C shows no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = unless_closed(sys.argv[1:])
    # By a signal, maybe amid a compilation, which the end of the interpreter does not survive.
    if code >= 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
