"""The claims about attention, search, labels and pairs of sequences, each with its rule: a function of what was
measured."""

import math

import numpy as np

from experiments.claims.finding import (
    FAILED,
    HELD,
    PARTLY,
    Arrays,
    Finding,
    explained,
    listed,
    mean_spread,
    share,
    smaller,
)

NOTICED = 0.5  # BLEU: less is a sentence or two
APART = 0.1 * math.log(2)  # of the greatest divergence that two heads can have
HEARD = 0.9  # share of tokens that counts as all of a sequence


def wider_beams(arrays: Arrays) -> Finding:
    """Holds where the widest search takes longer than the narrowest and every system's BLEU is higher by half a
    point; partly where only some systems or some widths are better by as much."""
    bleu, seconds = arrays["bleu"], arrays["seconds"]
    slower = seconds[:, -1] / seconds[:, 0]
    gains = bleu - bleu[:, :1]
    better = gains > NOTICED
    every = bool(better[:, -1].all() and (slower > 1).all())
    return explained(
        f"BLEU above that of width {arrays['widths'][0]:g} at width {arrays['widths'][-1]:g}: "
        f"{named(arrays, gains[:, -1], '+.2f')}; most at any width {listed(gains.max(1), '+.2f')}; seconds "
        f"{slower.min():.0f} to {slower.max():.0f} times as many",
        HELD if every else PARTLY if better.any() else FAILED,
        "The cost grows with the width in any case; there is something to gain only where greedy search errs.",
        "Greedy search errs too seldom here for a wider one to gain what it costs.",
    )


def heads_differ(arrays: Arrays) -> Finding:
    """Holds where any two heads of a layer diverge by a tenth of ln 2; partly where some do."""
    apart = arrays["divergence"]
    return explained(
        f"Jensen–Shannon divergence of heads of one layer, at most ln 2: {apart.min():.2f} to {apart.max():.2f}, "
        f"{np.mean(apart > APART):.0%} of pairs above {APART:.2f}",
        share(apart > APART),
        "Heads attend to different places; which features they read there isn't measured.",
        "Some heads of a layer attend to the same places; nothing in training keeps them apart.",
    )


def reaches_far(arrays: Arrays) -> Finding:
    """Holds where attention has a higher BLEU than both fixed contexts at every length; partly at some."""
    names, bleu = arrays["systems"].tolist(), arrays["length_bleu"]
    attention = bleu[names.index("attention")]
    fixed = np.max([bleu[i] for i, name in enumerate(names) if "context" in name], axis=0)
    return explained(
        f"BLEU at {listed(arrays['lengths'], 'd')} joined sentences: {listed(attention, '.1f')} with attention, "
        f"{listed(fixed, '.1f')} with the better fixed context",
        share(attention > fixed + NOTICED),
        "A context of fixed size is asked to hold ever more; attention reads every place of the source.",
        "Attention, too, must find its place in a source longer than those of training.",
    )


def transformer_far(arrays: Arrays) -> Finding:
    """Holds where the Transformer has the highest BLEU at every length beyond one sentence; partly at some."""
    names, bleu, longer = arrays["systems"].tolist(), arrays["length_bleu"], arrays["lengths"] > 1
    own, other = bleu[names.index("Transformer")], bleu[names.index("attention")]
    return explained(
        f"BLEU at {listed(arrays['lengths'], 'd')} joined sentences, of up to {int(arrays['joined'])} in training: "
        f"Transformer {listed(own, '.1f')}, recurrent net with attention {listed(other, '.1f')}",
        share((own > other + NOTICED)[longer]),
        "All places are one step apart, but how far apart they are must be learnt from the positions.",
        "All places are one step apart, but positions beyond those of training are strange to it.",
    )


def shorter_way(arrays: Arrays) -> Finding:
    """Holds where on every task a trained net's first input influences its last output ten times as strongly as it
    does through recurrence alone; partly on some."""
    ratio = arrays["total"] / arrays["recurrence"]
    return explained(
        "influence of the first input on the last output after training, in all and through recurrence alone: "
        + "; ".join(
            f"{task} {total:.1e}, {alone:.1e}"
            for task, total, alone in zip(
                arrays["tasks"].tolist(), arrays["total"], arrays["recurrence"], strict=True
            )
        ),
        share(ratio > 10),
        "Attention leads past the steps between, each of which shrinks what passes it.",
        "What recurrence alone keeps is not much less than all of it.",
    )


def weights_tell(arrays: Arrays) -> Finding:
    """Holds where attention weights rank the past as influence does, Kendall's τ above a half, in every net; partly
    in some."""
    tau = arrays["tau"]
    return explained(
        f"Kendall's τ between attention weights and influence after training: {named(arrays, tau, '.2f', 'nets')}",
        share(tau > 0.5),
        "What a place is weighted by is what passes through.",
        "Where the past also arrives by recurrence, a weight doesn't tell what matters.",
    )


def last_state(arrays: Arrays) -> Finding:
    """Holds where the better fixed context gives back 90 % of the letters at every length of training; partly at
    some."""
    inside = arrays["lengths"] <= arrays["trained"]
    fixed = np.max([arrays["fixed context"], arrays["fixed context, source reversed"]], axis=0)
    return explained(
        f"letters right, of {listed(arrays['lengths'], 'd')} to be copied: {listed(fixed, '.0%')} from the last "
        f"state, {listed(arrays['attention'], '.0%')} with attention; trained on up to {int(arrays['trained'])}",
        share(fixed[inside] >= HEARD),
        "The state is large enough for sequences of this length.",
        "A state of fixed size holds short sequences, and less of each the longer they are.",
    )


def even_gradient(arrays: Arrays) -> Finding:
    """Holds where before training the first letter's gradient is at least a tenth of the last one's with attention
    and less without it, at every length; partly at some."""
    fixed, attention = arrays["reach|fixed context"], arrays["reach|attention"]
    return explained(
        f"gradient by the first letter over that by the last, untrained, at n = {listed(arrays['lengths'], 'd')}: "
        f"{listed(fixed, '.1e')} with a fixed context, {listed(attention, '.1e')} with attention",
        share((attention > 0.1) & (fixed < attention)),
        "Attention gives every letter a way to the loss that is one step long.",
        "The gradient of the first letter is small with attention too, or isn't without it.",
    )


def without_pairs(arrays: Arrays) -> Finding:
    """Holds where a net without pairs has nine tenths of the exact translations of one with all pairs; partly where
    it has more than the dictionary word by word."""
    alone, every, words = (float(arrays[name]) for name in ("no pairs", "all pairs", "word by word"))
    return explained(
        f"exact translations: {alone:.1%} without pairs, {every:.1%} with all of them, {words:.1%} word by word",
        HELD if alone >= 0.9 * every and alone > words else PARTLY if alone > words else FAILED,
        "Denoising and translating back go from a dictionary to sentences.",
        "Denoising and translating back from a dictionary alone didn't find the right words in these steps.",
    )


def few_pairs(arrays: Arrays) -> Finding:
    """Holds where a net that also learns from translations back has five points more exact translations than one of
    the few pairs alone."""
    back, few = float(arrays["back-translation"]), float(arrays["few pairs"])
    return explained(
        f"exact translations: {back:.1%} with translations back of one-sided text, {few:.1%} without",
        HELD if back > few + 0.05 else FAILED,
        "One-sided text teaches the decoder its language, however poor the source made up for it.",
        "The few pairs had already taught what one-sided text could add.",
    )


def teacher_forcing(arrays: Arrays) -> Finding:
    """Holds where nets trained on the right inputs write more exact translations than those trained on their own,
    after as many steps, and differ less from seed to seed; partly where only the first is so."""
    forced, own = arrays["exact|0"], arrays["exact|0.9"]
    faster = smaller(-forced, -own)
    steadier = float(forced.std(ddof=1)) < float(own.std(ddof=1))
    return explained(
        f"exact translations, written freely, after equal steps: {mean_spread(forced)} with the right inputs, "
        f"{mean_spread(own)} with nine of ten inputs drawn from the net itself",
        PARTLY if faster == HELD and not steadier else faster,
        "A net that reads its own early mistakes learns to go on from them, not from the right words.",
        "Reading its own words prepares a net for writing freely, which is what is tested.",
    )


def trimming(arrays: Arrays) -> Finding:
    """Holds where even a net without an error, trimmed, writes no doubled letter in twenty, and CTC most; partly
    where only one of them is so."""
    bound, trimmed, ctc = (float(arrays[name]) for name in ("bound", "trimmed", "ctc"))
    lost, written = bound < 0.05, ctc > 0.5
    return explained(
        f"doubled letters right: {trimmed:.1%} frame by frame and trimmed, {bound:.1%} of a perfect net so "
        f"trimmed, {ctc:.1%} with CTC",
        HELD if lost and written else PARTLY if lost or written else FAILED,
        "Equal neighbours are one after trimming; CTC sets an empty symbol between them.",
        "A label that is missing between doubled letters, or errors of CTC, blur the difference.",
    )


def both_sides(arrays: Arrays) -> Finding:
    """Holds where a net that reads both ways has a higher accuracy than one that reads forward."""
    both, forward = arrays["accuracy|both"], arrays["accuracy|forward"]
    return explained(
        f"accuracy on sentences that praise or blame: {mean_spread(both)} reading both ways, "
        f"{mean_spread(forward)} forward",
        smaller(-both, -forward),
        "With attention over all words the forward net also has the whole sentence; only its words are read alone.",
        "Pooled over all words, the forward net has the whole sentence as well.",
    )


def context_tells(arrays: Arrays) -> Finding:
    """Holds where a net makes at most half the errors on words of several tags that their commonest tags make;
    partly where it makes fewer."""
    net, commonest = 1 - float(arrays["ambiguous"]), 1 - float(arrays["commonest"])
    return explained(
        f"errors on words that have several tags: {net:.1%} of a recurrent net, {commonest:.1%} of the commonest "
        "tag of each word",
        HELD if net <= commonest / 2 else PARTLY if net < commonest else FAILED,
        "The word alone gives one answer to both saws; a memory knows what came before.",
        "The commonest tag of a word is often the right one, or what decides comes after it.",
    )


def named(arrays: Arrays, values: np.ndarray, spec: str, names: str = "systems") -> str:
    """Formats numbers behind the names they belong to."""
    return ", ".join(
        f"{name} {value:{spec}}" for name, value in zip(arrays[names].tolist(), values.tolist(), strict=True)
    )
