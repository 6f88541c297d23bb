"""The table of `gradients`: a row for each cell before training and after it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis import half_life, log_slope


def summary(name: str, moment: str, measured: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Summarises a net in a row of the table: medians over the images. `exponent` is λ₁ in nats per step,
    `half_life` in steps."""
    spectra = np.median(measured["log_singular_values"], axis=0)
    lags = [lag for lag in (1, 8, 32, 63) if lag <= len(spectra)]
    half = spectra.shape[1] // 2
    return {
        "cell": name,
        "moment": moment,
        "slope": log_slope(np.median(measured["gradient_norms"], axis=1)),
        "half_life": half_life(measured["gradient_norms"]),
        "exponent": float(np.median(measured["exponents"][:, 0])),
        "log_largest": {str(lag): float(spectra[lag - 1, 0]) for lag in lags},
        "log_middle": {str(lag): float(spectra[lag - 1, max(half - 1, 0)]) for lag in lags},
    }


def format_table(rows: Sequence[Mapping[str, Any]], accuracies: Mapping[str, float]) -> str:
    """Formats the rows in two blocks: how fast, and how many directions. Singular values are in powers of ten,
    since they may lie outside floating point."""
    width = max(len(row["cell"]) for row in rows)
    lags = list(rows[0]["log_largest"])
    titles = [f"largest σ at lag {', '.join(lags)}", f"middle σ at lag {', '.join(lags)}"]
    block = max(9 * len(lags), len(titles[0]) + 2)

    def begin(cell: str, moment: str) -> str:
        return f"{cell:<{width}}  {moment:<8}  "

    rates = [begin("cell", "training") + f"{'slope':>7}  {'half-life':>9}  {'λ₁':>7}  accuracy"]
    spectra = [begin("cell", "training") + f"{titles[0]:<{block}}{titles[1]:<{block}}".rstrip()]
    for row in rows:
        accuracy = f"{accuracies[row['cell']]:.1%}" if row["moment"] == "after" else ""
        start = begin(row["cell"], row["moment"])
        numbers = f"{row['slope']:>+7.3f}  {row['half_life']:>9.3g}  {row['exponent']:>+7.3f}  {accuracy}"
        rates.append((start + numbers).rstrip())
        values = [
            "".join(f"{power_of_ten(v):<9}" for v in row[key].values()).ljust(block)
            for key in ("log_largest", "log_middle")
        ]
        spectra.append((start + "".join(values)).rstrip())
    return "\n".join(
        [
            *rates,
            "",
            *spectra,
            "",
            "slope: of ln ‖∂L/∂s‖ per step back in time, median image; 0 would be no loss at all.",
            "half-life: the steps back in which that gradient halves; inf where it doesn't fall.",
            "λ₁: the leading Lyapunov exponent along an image, nats per step, median image; above 0 changes grow.",
            "σ: singular values of the product of the last k step Jacobians, the largest and the middle one of S.",
        ]
    )


def power_of_ten(log: float) -> str:
    """Formats e^log in scientific notation, beyond the range of floating point too."""
    if not np.isfinite(log):
        return "0" if log < 0 else "inf"
    exponent = int(np.floor(log / np.log(10)))
    mantissa = 10 ** (log / np.log(10) - exponent)
    if f"{mantissa:.1f}" == "10.0":
        mantissa, exponent = 1.0, exponent + 1
    return f"{mantissa:.1f}e{exponent:+03d}"
