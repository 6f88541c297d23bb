"""The figures of `flossing`, from the arrays of a run."""

from collections.abc import Mapping
from pathlib import Path

from experiments.harness.files import read_arrays

VARIANTS = ("no flossing", "flossing before", "flossing before and during")


def draw_figures(folder: Path, exponents: Mapping[str, int], repeats: int) -> list[Path]:
    """Draws the figures of a finished run from its arrays, so many `exponents` being flossed of each task."""
    from analysis.figures.curves import curves_of_variants
    from analysis.figures.exponents import spectra_of_variants
    from analysis.figures.gradients import gradient_against_lag
    from analysis.figures.style import save

    curves, measured = read_arrays(folder, "curves"), read_arrays(folder, "measured")
    titles = {"copy_memory": "copy", "delayed_recall": "delayed recall", "adding": "adding"}
    metrics = {"copy_memory": "recalled"}
    quantities = {"recalled": "share of symbols recalled", "mean_square_error": "mean square error"}
    panels, y_labels, marks, spectra, flossed, drawn = {}, {}, {}, {}, {}, {}
    for task, k in exponents.items():
        metric = metrics.get(task, "mean_square_error")
        column = f"validation/{metric}"
        panels[titles[task]] = {
            name: [
                {"step": curves[f"{key}/step"], "value": curves[key]}
                for key in (f"{task}|{name}|{repeat}|{column}" for repeat in range(repeats))
            ]
            for name in VARIANTS
        }
        y_labels[titles[task]] = f"{quantities[metric]}, held out"
        marks[titles[task]] = 0.9 if metric == "recalled" else 0.01
        norms = {}
        for moment in ("before", "after"):
            found = {n: measured[f"{task}|{n}|{moment}|exponents"] for n in VARIANTS}
            norms[moment] = {n: measured[f"{task}|{n}|{moment}|gradient_norms"] for n in VARIANTS}
            if moment == "before":
                for mapping in (found, norms[moment]):
                    mapping.pop(VARIANTS[2])  # begins where the second does
            spectra[f"{titles[task]}, {moment} training"] = found
            flossed[f"{titles[task]}, {moment} training"] = k
        drawn[f"gradient_against_lag_{task}"] = gradient_against_lag(norms["before"], norms["after"])
    drawn["training"] = curves_of_variants(panels, y_labels=y_labels, solved_at=marks)
    drawn["exponents"] = spectra_of_variants(spectra, flossed=flossed)
    return [path for name, figure in drawn.items() for path in save(figure, folder / "figures", name)]
