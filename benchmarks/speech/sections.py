"""The sections of the page on speech: a table each, with a paragraph that describes the measurement."""

from typing import Any

from benchmarks.sections import words_a_second

FRAMES: Any = {"size": "T, B", "unit": "frames"}


def ctc(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    return words_a_second(
        rows,
        "The loss of CTC and its gradient in the logits of 29 labels, blank among them: `ctc_loss`, on one device "
        "per core that share the batch, beside `torch.nn.CTCLoss` over a log-softmax. One label to five frames; "
        "lengths are drawn between half and the whole of T, and padded. Separate processes take turns; losses and "
        "norms of gradients must agree to 1e-3, or the benchmark stops. Medians in milliseconds, with the "
        "interquartile range in brackets. To measure this alone: `python -m benchmarks.speech.ctc`.",
        **FRAMES,
    )


def recogniser(rows: list[dict[str, Any]]) -> list[str]:
    """Tabulates one line per size and side."""
    return words_a_second(
        rows,
        "The net of `python -m experiments speech --preset fsdd` without dropout and hidden bands: two layers of "
        "LSTMs of 128 units in both directions over 80 numbers a step, 29 classes, CTC, clipping and Adam. Ours is "
        "`train_chunk`, one batch a call, with the norms, metrics and checks of every run, beside the same step in "
        "PyTorch, with packed utterances and with padded ones, whose backward direction is turned round within "
        "each length. Lengths are drawn between three quarters and the whole of T. Separate processes take turns "
        "with the same weights and utterances; losses must agree to 1e-3, or the benchmark stops. To measure this "
        "alone: `python -m benchmarks.speech.recogniser`.",
        **FRAMES,
    )
