"""The claims about vectors of sentences, each with its rule: a function of what was measured."""

import numpy as np

from experiments.claims.finding import (
    FAILED,
    HELD,
    OPEN,
    Arrays,
    Finding,
    explained,
    mean_spread,
    share,
    smaller,
)


def autoencoder_grammar(arrays: Arrays) -> Finding:
    """Holds where in both probes of grammar the autoencoder's vectors have more right answers than skip-thought's;
    partly in one."""
    return compared(
        arrays,
        "grammar",
        ("autoencoder", "skip-thought"),
        "To write a sentence again, its vector must hold the place of every word.",
        "To write what stands around it, too, a net has to know what each word does in its place.",
    )


def skip_thought_meaning(arrays: Arrays) -> Finding:
    """Holds where in both probes of meaning skip-thought's vectors have more right answers than the autoencoder's;
    partly in one."""
    return compared(
        arrays,
        "meaning",
        ("skip-thought", "autoencoder"),
        "What stands around a sentence follows from what it means.",
        "What is of the same text has words in common, and those an autoencoder has to keep.",
    )


def compared(arrays: Arrays, kind: str, nets: tuple[str, str], holds: str, otherwise: str) -> Finding:
    """Judges whether the first net's vectors have more right answers than the second's in both probes of a kind."""
    first, second = (arrays[f"{kind}|{net}"] for net in nets)
    verdicts = [smaller(-a, -b) for a, b in zip(first, second, strict=True)]
    won = np.array([verdict == HELD for verdict in verdicts])
    names = {
        "grammar": ("swapped words", "a missing word"),
        "meaning": ("the next sentence", "the same text"),
    }
    return explained(
        "right answers: "
        + "; ".join(
            f"{name} {mean_spread(a)} ({nets[0]}), {mean_spread(b)} ({nets[1]})"
            for name, a, b in zip(names[kind], first, second, strict=True)
        ),
        share(won) if won.any() or FAILED in verdicts else OPEN,
        holds,
        otherwise,
    )
