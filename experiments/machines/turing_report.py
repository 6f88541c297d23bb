"""The report of the tasks of the Neural Turing machine: a table, and figures from arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.synthetic.turing_tasks import NOT_ASKED
from experiments.harness.files import arrays_with_prefix
from experiments.harness.options import folder_name
from experiments.machines.bits import BAYES, METRICS
from experiments.machines.systems import Nets

BELOW = 1.0  # bits a sequence from which a task counts as learned


def format_table(
    nets: Nets, baselines: Mapping[str, Mapping[str, Mapping[str, float]]], task_of: Mapping[str, str]
) -> str:
    """Formats a block for each task: a row for each net and each answer to beat, columns for the test sequences
    and for longer ones."""
    blocks = []
    for task, answers in baselines.items():
        rows = {name.removeprefix(f"{task}, "): net for name, net in nets.items() if task_of[name] == task}
        first = next(iter(rows.values()))
        sized = [
            (what, i, int(size))
            for what, sizes in longer_of(first).items()
            for i, size in enumerate(sizes["size"])
        ]
        width = max(map(len, (*rows, *answers)))
        heads = [f"{size} {what}" for what, _, size in sized]
        lines = [
            f"{task.replace('_', ' ')}: bits a sequence, as in training and all of one size",
            "".join(
                [
                    f"{'':<{width}}  {'test':>10}  {'wrong bits':>10}",
                    *(f"  {head:>12}" for head in heads),
                    f"  {'below 1 bit':>12}  {'parameters':>10}",
                ]
            ),
        ]
        for name, net in rows.items():
            tested = [f"{longer_of(net)[what]['bits'][i]:>12.3f}" for what, i, _ in sized]
            lines.append(
                "  ".join(
                    [
                        f"{name:<{width}}",
                        f"{float(net['test|bits']):>10.3f}",
                        f"{float(net['test|wrong']):>10.3f}",
                        *tested,
                        f"{learned(net):>12}",
                        f"{int(net['parameters']):>10,}",
                    ]
                )
            )
        for name, values in answers.items():
            wrong = f"  {values['wrong']:>10.3f}" if "wrong" in values else ""
            lines.append(f"{name:<{width}}  {values['bits']:>10.3f}{wrong}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def longer_of(net: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Returns `{what is longer: {size, bits, wrong}}`, arrays over the sizes."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, values in arrays_with_prefix("longer", net).items():
        what, key = name.split("|")
        found.setdefault(what, {})[key] = np.atleast_1d(values)
    return found


def learned(net: Mapping[str, np.ndarray]) -> str:
    """Says at which step the held-out cost was first below `BELOW`."""
    steps = net["curve|step"][net["curve|bits"] < BELOW]
    return f"step {int(steps[0]):,}" if len(steps) else "never"


def draw_nets(folder: Path, nets: Nets, baselines: Mapping[str, np.ndarray]) -> list[Path]:
    """Draws the costs in training, those of longer sequences, and of each machine its heads."""
    from analysis.figures.attention import strips_figure
    from analysis.figures.style import save

    drawn = figures_of(nets, baselines)
    for name, net in nets.items():
        seen = arrays_with_prefix("watched", net)
        if seen:
            drawn[f"heads_{folder_name(name)}"] = strips_figure(strips(seen))
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]


def figures_of(nets: Nets, baselines: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns the figures of all nets: `training` and `longer`, a panel for each task."""
    from analysis.figures.outcomes import outcomes_against

    training: dict[str, Any] = {}
    longer: dict[str, Any] = {}
    for name, net in nets.items():
        task, _, cell = name.partition(", ")
        title = task.replace("_", " ")
        training.setdefault(title, {})[cell] = {"x": net["curve|step"], "values": net["curve|bits"][:, None]}
        for what, sizes in longer_of(net).items():
            panel = longer.setdefault(f"{title}: {what}", {})
            panel[cell] = {"x": sizes["size"], "values": sizes["bits"][:, None]}
    for key, value in baselines.items():
        task, answer = key.split("|")
        title = task.replace("_", " ")
        if answer == BAYES and title in training:
            x = next(iter(training[title].values()))["x"]
            training[title][answer] = {"x": x, "values": np.full((len(x), 1), float(value))}
    bits = METRICS["bits"].label
    return {
        "training": outcomes_against(training, x_label="training step", y_label=f"{bits}, held out", log="y"),
        "longer": outcomes_against(longer, x_label="size of the sequences", y_label=bits, log="y"),
    }


def strips(seen: Mapping[str, np.ndarray]) -> list[Any]:
    """Returns what a machine read, answered, wrote and where, as the strips of a figure."""
    from analysis.figures.attention import Strip

    asked = seen["targets"] != NOT_ASKED
    flat = {name: values.reshape(len(values), -1) for name, values in seen.items()}
    found = [
        Strip(seen["inputs"], "inputs"),
        Strip(np.where(asked, seen["targets"], np.nan), "targets", 0, 1),
        Strip(np.where(asked, seen["answers"], np.nan), "answers: probability of a 1", 0, 1),
        Strip(flat["add"], "added by the heads that write"),
    ]
    for kind, title in (("write_weights", "writes"), ("read_weights", "reads")):
        for head in range(seen[kind].shape[1]):
            named = f"head {head + 1} that {title}" if seen[kind].shape[1] > 1 else f"the head that {title}"
            found.append(Strip(seen[kind][:, head], f"{named}: weights over the rows of the memory", 0, 1))
    norms = np.linalg.norm(seen["memory"], axis=-1)
    return [
        *found,
        Strip(flat["reads"], "read"),
        Strip(norms, f"memory: norms of its rows, up to {norms.max():.1f}", 0),
    ]
