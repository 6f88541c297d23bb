"""The process of one library: reads one request per line from standard input, and answers with lines of JSON.

python -m benchmarks.worker LIBRARY DEVICES
"""

import importlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.command import refuse, show_help


def main(library: str, devices: int) -> None:
    if library != "pytorch":
        import jax

        if devices > 1:
            jax.config.update("jax_num_cpu_devices", devices)
    module = importlib.import_module(f"benchmarks.layers.{library}")
    layer: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "build":
            from benchmarks.work import Work

            layer = None  # frees the previous one first
            layer = module.build(Work(**request["work"]), devices > 1)
            answer: Any = {way: first_call(getattr(layer, way)) for way in request["ways"]}
        else:
            answer = timed(getattr(layer, request["way"]), request["seconds"])
        print(json.dumps(answer), flush=True)


def first_call(function: Any) -> dict[str, float]:
    """Returns the value, the seconds of the first call (mostly compilation), and the peak memory that a call
    adds."""
    reset_peak()
    before = resident("VmRSS")
    began = time.perf_counter()
    value = function()
    seconds = time.perf_counter() - began
    reset_peak()
    function()
    return {"value": value, "first_seconds": seconds, "peak_bytes": resident("VmHWM") - before}


def timed(function: Any, seconds: float) -> list[float]:
    """Returns times of single calls, for `seconds` and at least three calls, after one to warm up."""
    function()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return times


def reset_peak() -> None:
    """Resets VmHWM to the current resident memory (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident(field: str) -> int:
    """Returns VmRSS or VmHWM of this process in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    words, layers = sys.argv[1:], Path(__file__).parent / "layers"
    libraries = sorted(path.stem for path in layers.glob("[a-z]*.py"))
    show_help(words, __doc__)
    if len(words) != 2 or words[0] not in libraries or not words[1].isdecimal():
        refuse(
            "python -m benchmarks.worker takes a library and a number of devices, as python -m benchmarks starts "
            f"it: the libraries are {', '.join(libraries)}"
        )
    main(words[0], int(words[1]))
