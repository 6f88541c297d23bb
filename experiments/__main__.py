"""`python -m experiments NAME [--option value …]`, or `unroll NAME [--option value …]` from any folder."""

import contextlib
import importlib
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

from experiments.harness.errors import UserError, format_warning, name_options, report_refusal
from experiments.harness.home import check_home
from experiments.harness.options import LATEST
from experiments.harness.surroundings import check_file_limit, prepare_surroundings
from experiments.harness.terminal import program
from experiments.registry import (
    COMMANDS,
    NAMES,
    PLAIN,
    READS,
    module_of,
    options_read,
    overview,
    read_options,
    unknown,
    with_resume_value,
)

# Before NumPy loads: its own linear-algebra threads beside XLA's make it many times slower than one thread.
for pool in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(pool, "1")


def main(arguments: list[str]) -> int:
    """Runs what the command line names. Returns 0 when done, 2 for a user's mistake, 128 + signal when stopped."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if any(LATEST in word for word in rest):
            from experiments.harness.latest import name_latest

            rest = name_latest(rest, READS.get(name, ()), options_read(name))
        check_home()
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
        if name in PLAIN:
            return importlib.import_module(PLAIN[name]).main(rest)
        if name == "sweep":
            from experiments import sweep

            return sweep.main(with_resume_value(rest))
        return run(name, rest)
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        return report_refusal(error)
    finally:
        if "experiments.harness.lock" in sys.modules:  # otherwise nothing is locked
            sys.modules["experiments.harness.lock"].release()


def run(name: str, arguments: list[str]) -> int:
    """Reads an experiment's options and runs it, alone or together with the other processes of the run."""
    from experiments.harness.cluster import as_one

    given, module = read_options(name, arguments), module_of(name)
    if given.launch.processes.coordinator is not None and not trains_one_net(module, given.config):
        raise UserError(
            "--processes.coordinator",
            f"shares the training of one net, and {name} trains several or none: leave it out",
        )
    return as_one(
        given.launch.processes,
        lambda: run_experiment(name, module, given.config, given.launch),
        report_refusal,
    )


def run_experiment(name: str, module: Any, config: Any, launch: Any) -> int:
    """Checks the options, opens the run's folder and runs the experiment in it. Returns the exit code."""
    from experiments.harness.launch import check_started_alike, leave_accelerator, take_devices
    from experiments.harness.options import option_fields
    from experiments.harness.processes import broadcast_from_main, check_divides, is_main, process_count
    from experiments.harness.run import open_run
    from experiments.run_task import Stopped
    from train import NonFinite

    check_file_limit()
    check_started_alike(name, config, launch)
    if getattr(module, "STARTS_RUNS", False):
        leave_accelerator()
    devices = take_devices(name, launch)  # before anything is computed
    if process_count() > 1:
        check_divides(config.batch_size)
    with name_options(option_fields(config)):
        broadcast_from_main(config.check)  # what it prepares on disk is prepared once
        if not is_main():
            config.check()
    folder: Path | None = None

    def tell(message: Any) -> None:
        if is_main():
            print(message, file=sys.stderr, flush=True)

    try:
        let_signals_raise()
        here = open_run(name, config, launch, devices, pinned=getattr(module, "PINNED", ()))
        folder = here.folder
        print(f"run folder: {folder}", flush=True)
        print(module.main(config, here))
        print(f"look at: {folder / 'figures'}")
        for path in sorted((folder / "figures").glob("*.png")):
            print(f"  {path}", flush=True)
    except Stopped as stopped:
        tell(stopped)
        return 128 + stopped.signal
    except Terminated as terminated:
        tell(f"stopped; run the same command {how_to_resume(folder)}")
        return 128 + terminated.args[0]
    except KeyboardInterrupt:  # outside training, or a second one
        tell(f"interrupted; run the same command {how_to_resume(folder)}")
        return 128 + signal.SIGINT
    except NonFinite as error:
        tell(f"error: {error}")
        return 1
    return 0


def how_to_resume(folder: Path | None) -> str:
    """Says how the command is given to continue a run, or to begin it where its folder wasn't open yet."""
    return "again" if folder is None else f"with --resume {folder} to continue"


def trains_one_net(module: Any, config: Any) -> bool:
    """Tells whether an experiment trains one net, which several processes can share: its config has the options of
    training, and its module doesn't say that it trains several nets."""
    from experiments.task import Options

    return isinstance(config, Options) and not getattr(module, "SEVERAL_NETS", False)


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived outside training, or a second time. Its argument is the signal's number."""


def terminate(number: int, frame: Any) -> None:
    """Ends the run on SIGTERM and SIGHUP as Ctrl-C does."""
    raise Terminated(number)


def let_signals_raise() -> None:
    """Makes SIGTERM and SIGHUP raise Terminated, and Ctrl-C KeyboardInterrupt, unless they are ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, terminate)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def inspect(arguments: list[str]) -> int:
    """Prints a run's config and last metrics, and redraws its figures from its arrays."""
    from experiments.report.inspect import inspect_run

    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(f"usage: {program()} inspect RUN\n\n{inspect.__doc__}")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 2
    print(inspect_run(Path(arguments[0])))
    return 0


def report(arguments: list[str]) -> int:
    """Writes one HTML page of a run, or of several compared."""
    from experiments import report

    print(report.main(arguments))
    return 0


def main_with_output(arguments: list[str]) -> int:
    """Runs `main` and flushes the output. Returns its exit code, or 141 (SIGPIPE) if the reader closed the pipe."""
    try:
        try:
            return main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter flushes once more at exit
        return 128 + signal.SIGPIPE
    except OSError as error:  # from the flush: main reports every other
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        with contextlib.suppress(OSError):
            print(f"error: the output can't be written: {error.strerror}", file=sys.stderr, flush=True)
        return 2


def console() -> NoReturn:
    """Runs the command line in a process of its own, and ends it: `python -m experiments` and `unroll`."""
    prepare_surroundings()
    warnings.formatwarning = format_warning
    # Until a run has begun, Ctrl-C ends the process at once, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    code = main_with_output(sys.argv[1:])
    # A signal may have come during a compilation, which the interpreter's own exit does not survive.
    if code >= 128:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    console()
