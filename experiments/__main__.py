"""`python -m experiments NAME [--option value …]`."""

import contextlib
import dis
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.harness.surroundings import check_file_limit, prepare_surroundings
from experiments.registry import (
    COMMANDS,
    IN_PROCESSES,
    NAMES,
    module_of,
    overview,
    read_options,
    unknown,
    with_resume_value,
)

# Before NumPy loads: its linear algebra on threads of its own beside XLA's is many times slower than on one.
for pool in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")

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
        from experiments.harness.compilation_cache import keep_compiled_programs

        keep_compiled_programs()
        if name == "inspect":
            return inspect(rest)
        if name == "report":
            return report(rest)
        if name == "generate":
            from experiments import generate

            return generate.main(rest)
        if name == "sweep":
            from experiments import sweep

            return sweep.main(with_resume_value(rest))
        return run(name, rest)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return refused(error, arguments)
    finally:
        if "experiments.harness.lock" in sys.modules:  # else nothing is held
            sys.modules["experiments.harness.lock"].release()


def refused(error: Exception, arguments: Sequence[str] = ()) -> int:
    """Says what the user can mend; any other error is a fault of ours, and raised again."""
    if not isinstance(error, ValueError | OSError) or (
        isinstance(error, ValueError) and not raised_by_us(error)
    ):
        raise error
    from experiments.harness.lock import in_a_sentence

    print(f"error: {in_a_sentence(error, arguments)}", file=sys.stderr, flush=True)
    return 2


def run(name: str, arguments: list[str]) -> int:
    """One experiment in its folder."""
    from experiments.harness.cluster import as_one

    given = read_options(name, arguments)
    if given.launch.processes.coordinator is not None and name not in IN_PROCESSES:
        raise ValueError(
            f"{name} does more than train one net, and runs in one process: leave --processes out "
            f"({', '.join(IN_PROCESSES)} take it)"
        )
    module = module_of(name)
    return as_one(
        given.launch.processes, lambda: carry_out(name, module, given.config, given.launch), refused
    )


def carry_out(name: str, module: Any, config: Any, launch: Any) -> int:
    """An experiment in its folder, its options being known."""
    from experiments.harness.processes import broadcast_from_main, check_divides, is_main, process_count
    from experiments.harness.run import check_started_alike, open_run, take_devices
    from experiments.run_task import Stopped
    from train import NonFinite

    check_file_limit()
    check_started_alike(name, config, launch)
    devices = take_devices(name, launch)  # before anything is computed
    if process_count() > 1:
        check_divides(config.batch_size)
    broadcast_from_main(config.check)  # what it prepares on disk is prepared once
    if not is_main():
        config.check()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    here = open_run(name, config, launch, devices, pinned=getattr(module, "PINNED", ()))
    print(f"run folder: {here.folder}", flush=True)

    def tell(said: Any) -> None:
        if is_main():
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
    from experiments.report.inspect import inspect_run

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
