"""A summary of a run's folder."""

from pathlib import Path

from experiments.harness.files import TABLE, environments, read_results
from experiments.harness.options import flat, format_number, format_value, option_name
from experiments.health import draw_health, incident_sentence
from experiments.registry import module_of, read_known_run
from train import INCIDENTS_FILE, read_metrics
from train.files import read_file
from train.nonfinite import read_incidents


def inspect_run(folder: Path) -> str:
    """Returns a run's config, environment, last metrics and results; redraws its figures if it is finished.

    Raises ValueError where the folder isn't a run's.
    """
    described = read_known_run(folder)
    lines = [f"{described['experiment']}: {folder}", ""]
    lines += [
        f"  {option_name(key):<28}{format_value(value)}" for key, value in flat(described["config"]).items()
    ]
    environment, *later = environments(folder)
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    lines += ["", f"begun {environment['started']} on {', '.join(environment['devices'])}", packages]
    lines += [f"resumed {again['started']} on {', '.join(again['devices'])}" for again in later]
    for path in sorted(folder.rglob("metrics.jsonl")):
        lines += ["", f"last metrics in {path.relative_to(folder)}"]
        last = {record["split"]: record for record in read_metrics(path)}
        for split, record in last.items():
            # Those with a stroke are one of many: a gate's, a lag's. The figures have them.
            single = {k: v for k, v in record.items() if k not in ("split", "step") and "/" not in k}
            values = ", ".join(f"{k} {v:.5g}" for k, v in single.items())
            lines.append(f"  {split}, step {record['step']}: {values}")
    for path in sorted(folder.rglob(INCIDENTS_FILE)):
        lines += ["", f"not finite in {path.parent.relative_to(folder)}"]
        lines += [f"  {incident_sentence(report)}" for report in read_incidents(path)]
    health = draw_health(folder)
    results = read_results(folder)
    if results is None:
        lines += ["", *(f"drawn from the run's metrics: {path}" for path in health)] if health else []
        return "\n".join([*lines, "", "not finished: run the same command with --resume to continue"])
    table = folder / TABLE
    lines += ["", "results"]
    lines += (
        [read_file(table).decode(errors="replace")]
        if table.exists()
        else [f"  {name:<36}{format_number(value)}" for name, value in results.items()]
    )
    drawn = module_of(described["experiment"]).draw(folder) + health
    return "\n".join([*lines, "", "drawn from the run's arrays:", *(f"  {path}" for path in drawn)])
