"""The claims of the notes, each with its place in them, its evidence and its rule.

N0 to N4 are five lecture notes: N0 on CS230, N1 on recurrent nets and their uses, N2 a summary from word vectors to
BERT, N3 on LSTM, GRU and word vectors, N4 on CS224n.
"""

from collections.abc import Mapping

from experiments.claims.exact import scaled_scores, two_to_three_times, window_stays
from experiments.claims.finding import UNRUN, Arrays, Claim, Finding, Row
from experiments.claims.language import (
    batch_norm,
    cells_that_remember,
    dearer,
    grows_with_size,
    longer_ngrams,
    lstm_dear,
    lstm_eight,
    neural_window,
    residual_helps,
    short_truncation,
    simple_forgets,
    slow_steps,
    transformer_eight,
    turing_machine,
    unseen,
    wide_window,
)
from experiments.claims.pairs import (
    both_sides,
    context_tells,
    even_gradient,
    few_pairs,
    heads_differ,
    last_state,
    reaches_far,
    shorter_way,
    teacher_forcing,
    transformer_far,
    trimming,
    weights_tell,
    wider_beams,
    without_pairs,
)
from experiments.claims.recurrence import (
    clipping_helps,
    depth_helps,
    four_layers,
    gru_equal_parameters,
    gru_equal_units,
    gru_parameters,
    initialisation,
    long_path,
    loss_swings,
    lstm_explodes,
    lstm_rate,
    lstm_still_vanishes,
    lstm_vanishes,
)
from experiments.claims.sentences import autoencoder_grammar, skip_thought_meaning

ROWS: Mapping[str, Row] = {
    "long_path": Row(
        "Over a long path gradients vanish or explode.", "N0, N1, N4", ("gradients",), long_path
    ),
    "lstm_explodes": Row(
        "An LSTM does away with vanishing gradients, but not with exploding ones: very steep places remain.",
        "N1",
        ("gradients",),
        lstm_explodes,
    ),
    "lstm_vanishes": Row(
        "In an LSTM memory and input are added, not overwritten, so its gradient does not vanish.",
        "N1, N3",
        ("gradients",),
        lstm_vanishes,
    ),
    "lstm_still_vanishes": Row(
        "An LSTM can't do away with vanishing gradients altogether.",
        "N4",
        ("gradients",),
        lstm_still_vanishes,
    ),
    "initialisation": Row(
        "The right initialisation cures vanishing and exploding gradients.",
        "N0",
        ("gradients",),
        initialisation,
    ),
    "batch_norm": Row(
        "Batch normalisation cures vanishing and exploding gradients.",
        "N0",
        ("normalised",),
        batch_norm,
    ),
    "lstm_rate": Row(
        "Since its gradients explode, an LSTM has to be trained with a very small learning rate.",
        "N1",
        ("rates",),
        lstm_rate,
    ),
    "loss_swings": Row(
        "A simple recurrent net is hard to train: its loss swings violently.",
        "N1",
        ("rates",),
        loss_swings,
    ),
    "clipping_helps": Row(
        "The cure for exploding gradients is simple: bound them, and training goes on.",
        "N1, N4",
        ("rates",),
        clipping_helps,
    ),
    "depth_helps": Row(
        "A recurrent net of several layers does better than one of a single layer.",
        "N4",
        ("depth",),
        depth_helps,
    ),
    "four_layers": Row(
        "More than four layers bring a recurrent net no further gain.",
        "N4",
        ("depth",),
        four_layers,
    ),
    "lstm_eight": Row("More than four layers bring an LSTM no further gain.", "N4", ("stacks",), lstm_eight),
    "transformer_eight": Row(
        "A Transformer can be stacked higher for better results.",
        "N4",
        ("stacks",),
        transformer_eight,
    ),
    "residual_helps": Row(
        "Residual connections make deep nets easier to train.", "N4", ("stacks",), residual_helps
    ),
    "gru_parameters": Row(
        "A layer of LSTM has four matrices of weights, one of GRU only three.",
        "N1",
        ("gated",),
        gru_parameters,
    ),
    "gru_twice": Row(
        "A GRU has two to three times the parameters of a simple net.", "N0", (), two_to_three_times
    ),
    "gru_quality": Row("A GRU does as well as an LSTM (equal units).", "N1", ("gated",), gru_equal_units),
    "gru_equal": Row(
        "A GRU does as well as an LSTM (equal parameters).",
        "N1",
        ("gated",),
        gru_equal_parameters,
    ),
    "lstm_dear": Row("An LSTM is the dearest of the three cells.", "N1, N3", ("speed",), lstm_dear),
    "simple_forgets": Row(
        "A simple net forgets over long sequences.", "N2, N3, N4", ("memory",), simple_forgets
    ),
    "cells_that_remember": Row(
        "LSTMs and state-space models catch what is far apart.",
        "N2, N4",
        ("memory",),
        cells_that_remember,
    ),
    "turing_machine": Row(
        "A Neural Turing machine is a recurrent net with a larger memory.",
        "N1",
        ("turing",),
        turing_machine,
    ),
    "short_truncation": Row(
        "It is enough to send the gradient about 20 steps back.",
        "N4",
        ("truncation",),
        short_truncation,
    ),
    "teacher_forcing": Row(
        "Teacher forcing makes training steadier and quicker.", "N4", ("teaching",), teacher_forcing
    ),
    "context_tells": Row(
        "The same word in two places has two tags, which only memory can tell apart.",
        "N1, N3",
        ("tags",),
        context_tells,
    ),
    "both_sides": Row(
        "Given the whole sentence, a net of both directions beats one that reads forward.",
        "N0, N1, N3, N4",
        ("sentiment",),
        both_sides,
    ),
    "unseen": Row("n-grams can't predict what never occurred in training.", "N4", ("ngrams",), unseen),
    "longer_ngrams": Row(
        "A greater n makes n-grams better and much larger.", "N4", ("ngrams",), longer_ngrams
    ),
    "neural_window": Row(
        "A net with a window cures sparse counts, and needs to store no n-grams.",
        "N4",
        ("families",),
        neural_window,
    ),
    "window_stays": Row(
        "A fixed window can't grow: every place has weights of its own, and what lies beyond is lost.",
        "N4",
        (),
        window_stays,
    ),
    "wide_window": Row("A fixed window can't be opened wide.", "N4", ("families",), wide_window),
    "grows_with_size": Row(
        "The abilities of a language model grow with its size.", "N2", ("sizes",), grows_with_size
    ),
    "slow_steps": Row(
        "Training a recurrent net is slow, step by step, where attention is parallel.",
        "N4",
        ("speed",),
        slow_steps,
    ),
    "dearer": Row("Attention costs more computation.", "N4", ("speed",), dearer),
    "last_state": Row(
        "At its last step a recurrent net holds all of the sequence.", "N1, N2", ("source",), last_state
    ),
    "even_gradient": Row(
        "Attention to the source solves the vanishing gradient.", "N4", ("source",), even_gradient
    ),
    "shorter_way": Row("Attention shortens the way between two places.", "N4", ("paths",), shorter_way),
    "weights_tell": Row("Attention weights show what the net looked at.", "N4", ("paths",), weights_tell),
    "reaches_far": Row("Attention catches what is far apart.", "N2, N4", ("search",), reaches_far),
    "transformer_far": Row(
        "A Transformer is superior on long sequences.", "N2", ("search",), transformer_far
    ),
    "scaled_scores": Row("Dividing by √d keeps scores from growing.", "N2", (), scaled_scores),
    "heads_differ": Row("Several heads look at different things.", "N0, N2", ("search",), heads_differ),
    "wider_beams": Row("A wider beam is better, slower and dearer.", "N2", ("search",), wider_beams),
    "without_pairs": Row(
        "Translation can be learnt without a parallel corpus.", "N4", ("pairs",), without_pairs
    ),
    "few_pairs": Row("More data can be made where pairs are few.", "N4", ("pairs",), few_pairs),
    "autoencoder_grammar": Row(
        "A vector from which the sentence is written again expresses grammar well.",
        "N1",
        ("sentences",),
        autoencoder_grammar,
    ),
    "skip_thought_meaning": Row(
        "A vector from which the neighbours are written (skip-thought) expresses meaning well.",
        "N1",
        ("sentences",),
        skip_thought_meaning,
    ),
    "trimming": Row(
        "Trimming equal neighbours loses doubled letters; CTC keeps them.",
        "N1",
        ("trimming",),
        trimming,
    ),
}


def judge(found: Mapping[str, Arrays], commands: Mapping[str, str]) -> dict[str, Claim]:
    """Judges every claim by the pieces that were found; of the others it names the commands of `commands`."""
    claims = {}
    for name, row in ROWS.items():
        command = "; ".join(commands[piece] for piece in row.pieces) or "computed here"
        missing = [piece for piece in row.pieces if piece not in found]
        finding = (
            Finding("nothing yet: run the command, and name its folder by --runs", UNRUN, "")
            if missing
            else row.judge(*(found[piece] for piece in row.pieces))
        )
        claims[name] = Claim(row.sentence, row.where, command, *finding)
    return claims
