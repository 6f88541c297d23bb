"""One sentence and exit code 2 for each mistake in the words of a command, before any run is begun."""

from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["addin"], "error: unknown experiment 'addin': did you mean adding?"),
        (["inspct"], "unknown experiment 'inspct': did you mean inspect?"),
        (["reprt"], "unknown experiment 'reprt': did you mean report?"),
        (["zzz"], "unknown experiment 'zzz': there are adding, copy_memory, "),
        (["adding", "--hiden-size", "3"], "Perhaps you meant: --hidden-size INT"),
        (["adding", "--optimizer.learnin-rate", "3"], "Perhaps you meant: --optimizer.learning-rate FLOAT"),
        (["adding", "extra"], "Unrecognized options: extra"),
        (["adding", "--steps", "many"], "Error parsing --steps"),
        (
            ["adding", "--optimizer.name", "adan"],
            "error: --optimizer.name is 'adan'; it must be one of sgd, momentum, adam, adamw, lion, rmsprop, ",
        ),
        (["adding", "--cell", "lsmt"], "error: unknown cell 'lsmt': did you mean lstm?"),
        (["adding", "--cell", "nowhere.py:Mine"], "error: there is no cell file nowhere.py"),
        (["gradients", "--cells", "elman", "grru"], "error: unknown cell 'grru': did you mean gru?"),
        (["gradients", "--cells", "lstm("], "error: can't read the cell 'lstm('"),
        (["gradients", "--cells"], "error: --cells names no cell"),
        (["gradients", "--cells", "gru", "lstm", "gru"], "error: --cells names a cell twice"),
        (["gradients", "--cells", "gru(reset=before)", "gru(reset='before')"], "--cells names a cell twice"),
        (["gradients", "--input-gain", "0"], "error: --input-gain must be above 0"),
        (["gradients", "--input-gain", "nan"], "error: --input-gain must be above 0"),
        (
            ["adding", "--optimizer.learning-rate", "0"],
            "error: --optimizer.learning-rate is 0.0; it must be above",
        ),
        (["adding", "--health.every", "-1"], "error: --health.every is -1; it must lie in"),
        pytest.param(
            ["adding", "--cell", "transformer", "--health.every", "5"],
            "--health.every can't look into a Transformer",
            marks=pytest.mark.full,
        ),
        (
            ["lyapunov", "--cells", "gru", "transformer"],
            "error: --cells can't look into a Transformer: its state",
        ),
        (["jacobian_spectra", "--cells", "transformer"], "a key–value cache, which only copies"),
        (
            ["fixed_points", "--cell", "transformer"],
            "measure its influence ∂y_t/∂x_s (analysis.influence, or the",
        ),
        (["flossing", "--cell", "transformer"], "error: --cell can't look into a Transformer"),
        (["gradients", "--cells", "transformer"], "error: --cells can't look into a Transformer"),
        (
            ["attention_paths", "--length", "8"],
            "error: --length must be a whole number of at least 16, but is 8",
        ),
        (["attention_paths", "--cell", "batch_norm_lstm"], "BatchNormLSTM couples the examples of a batch"),
        (["attention_paths", "--health.every", "5"], "look into its recurrence, GRU(hidden_size=48"),
        (["adding", "--cell", "attention_cell(gru)"], "attends to a memory, and nothing gives it one here"),
        (
            ["adding", "--cell", "transformer(memory_size=8)"],
            "attends to a memory, and nothing gives it one here",
        ),
        pytest.param(
            ["adding", "--cell", "transformer(heads=4)", "--depth", "2"],
            "error: --depth 2 stacks layers, and transformer(heads=4) has its own: give transformer(layers=2)",
            marks=pytest.mark.full,
        ),
        (
            ["adding", "--cell", "stacked((gru, transformer))", "--depth", "3"],
            "error: --depth 3 stacks layers, and stacked((gru, transformer)) has its own",
        ),
        (
            ["adding", "--cell", "transformer", "--dropout", "0.1"],
            "error: --dropout 0.1 falls between layers, and there is one: give transformer(dropout=0.1)",
        ),
        (
            ["adding", "--cell", "stacked((lstm, gru))", "--dropout", "0.1"],
            "there is one: give stacked(…, dropout=dropout(0.1))",
        ),
        (
            ["adding", "--cell", "transformer", "--method", "scan", "--checkpoint-every", "4"],
            "error: --method scan can't run the cell transformer: its attention computes all steps at once",
        ),
        (
            ["adding", "--cell", "stacked((lstm, self_attention(heads=2)))", "--method", "newton"],
            "its attention computes all steps at once, where newton would keep a cache for every step",
        ),
        pytest.param(
            ["adding", "--cell", "gru", "--hidden-size", "5", "--method", "associative"],
            "of the cells here it runs s4d, s5, lru, min_gru, min_lstm, rg_lru; gru supports",
            marks=pytest.mark.full,
        ),
        (
            ["adding", "--cell", "transformer(heads=3)"],
            "the heads divide the size among them, but 3 don't divide 64",
        ),
        (["adding", "--cell", "transformer(heads=64)"], "a head has 1 numbers, an odd number"),
        (
            ["adding", "--cell", "transformer(context=0)"],
            "context must be a whole number of at least 1, but is 0",
        ),
        pytest.param(
            ["adding", "--cell", "transformer(position=learned, context=16)", "--length", "100"],
            "learned codes for 16 positions, but the sequence has 100 steps: give it context=100",
            marks=pytest.mark.full,
        ),
        (["char_lm", "--cell", "transformer(causal=False)"], "would see the word that it is to predict"),
        (
            ["char_lm", "--cell", "transformer", "--direction", "both"],
            "would see the word that it is to predict",
        ),
        (
            ["gradients", "--cells", "bidirectional(gru)"],
            "reads from the end knows the future, so it has no step",
        ),
        (["fixed_points", "--cell", "bidirectional(gru)"], "knows the future, so it has no step"),
        (["lyapunov", "--cells", "transformer(causal=False)"], "knows the future, so it has no step"),
        (["flossing", "--floss.weight", "0"], "error: --floss.weight must be above 0 and finite, but is 0"),
        (
            ["sweep", "adding", "--seeds", "0"],
            "error: --seeds must be a whole number of at least 1, but is 0",
        ),
        (["adding", "--length", "1"], "error: --length must be a whole number of at least 2, but is 1"),
        (["adding", "--seed", "-1"], "error: --seed must be a whole number from 0 to 4294967295, but is -1"),
        (["adding", "--depth", "0"], "error: --depth must be a whole number of at least 1, but is 0"),
        (
            ["adding", "--connections", "resid"],
            "invalid choice 'resid' for argument '--connections'. Expected one of ('plain', 'residual', 'dense',",
        ),
        (
            ["adding", "--connections", "dense"],
            "error: --connections dense joins layers, and there is one: give",
        ),
        (["digits", "--dropout", "0.1"], "error: --dropout 0.1 falls between layers, and there is one: give"),
        (["digits", "--dropout", "1", "--depth", "2"], "error: --dropout must be at least 0 and below 1"),
        (
            ["adding", "--checkpoint-every", "5"],
            "error: --checkpoint-every belongs to --method scan: give both",
        ),
        (
            ["adding", "--method", "associative"],
            "error: --method associative can't run the cell lstm: of the cells "
            "here it runs s4d, s5, lru, min_gru, min_lstm, rg_lru; lstm supports auto, scan, fused, newton",
        ),
        (
            ["gradients", "--method", "fused", "--cells", "gru", "lru"],
            "error: --method fused can't run the cell lru: ",
        ),
        (["gradients", "--direction", "both"], "error: --direction both reads the future and has no step"),
        (
            ["copy_memory", "--direction", "backward"],
            "error: --direction backward asks a net for the symbols",
        ),
        (
            ["long_memory", "--direction", "backward"],
            "error: --direction backward asks a net for the symbols",
        ),
        (["long_memory", "--tasks"], "error: --tasks is empty: give at least one"),
        (["long_memory", "--lengths", "5", "5"], "error: --lengths names one twice: 5 5"),
        (["long_memory", "--cells", "gru(resett=before)"], "GRU has no option 'resett': did you mean reset?"),
        (
            ["long_memory", "--steps", "120"],
            "error: --steps 120 is no multiple of --eval-every 50: a task is",
        ),
        (
            ["speed", "--methods", "associative"],
            "error: --methods associative: lstm goes none of them, but scan, ",
        ),
        (["speed", "--newton-memory", "0"], "error: --newton-memory must be above 0 and finite, but is 0"),
        (
            ["jacobian_spectra", "--shown-lags", "0"],
            "error: --shown-lags must be a whole number of at least 1",
        ),
        (
            ["flossing", "--exponents", "100"],
            "error: --exponents 100 are more than the 64 numbers in the state",
        ),
        (
            ["gradients", "--optimizer.average-from", "2000"],
            "error: --optimizer.average-from is 2000, but the run",
        ),
        (
            ["jacobian_spectra", "--optimizer.average-from", "600"],
            "--optimizer.average-from is 600, but the run",
        ),
        (
            ["edge_of_chaos", "--optimizer.average-from", "200"],
            "--optimizer.average-from is 200, but the run",
        ),
        (
            ["flossing", "--health.every", "4000"],
            "error: --health.every is 4000, but the run ends at step 3000",
        ),
        (
            ["lyapunov", "--optimizer.schedule", "warmup_cosine", "--optimizer.warmup-steps", "200"],
            "error: --measure-every 100 stops training within a schedule: optimizer.warmup_steps is 200",
        ),
        (
            ["sweep", "speed", "--seeds", "2", "--seed", "1"],
            "error: --seed can't be given to the runs of a sweep",
        ),
        (["inspect"], ""),
        (["report"], "error: report names no run: python -m experiments report RUN …"),
        (["inspect", "nowhere"], "error: nowhere is not a run folder (it has no config.json)"),
        (["adding", "--resume", "nowhere"], "error: nowhere is not a run folder (it has no config.json)"),
        (["adding", "--resume"], "there is no unfinished run of adding in runs/adding: leave --resume out"),
        (
            ["adding", "--resume", "a", "--run-dir", "b"],
            "error: --resume a and --run-dir b are two folders: ",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_wrong_words(mistake: Callable[..., str], arguments: list[str], said: str) -> None:
    assert said in mistake(*arguments)


SIZES = ["hidden-size", "batch-size", "steps", "log-every", "eval-every", "save-every", "chunk", "keep"]


@pytest.mark.parametrize("size", [0, -3])
@pytest.mark.parametrize(
    ("name", "option"),
    [*[("digits", size) for size in SIZES], *[("gradients", size) for size in ("images", "trajectories")]]
    + [("long_memory", "lengths"), ("speed", "lengths"), ("speed", "repeats")]
    + [(name, "length") for name in ("adding", "copy_memory", "temporal_order")],
)
def test_sizes_below_one(mistake: Callable[..., str], name: str, option: str, size: int) -> None:
    said = mistake(name, f"--{option}", size)
    assert said.startswith(f"error: --{option} ")
    assert str(size) in said


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_of_no_key(mistake: Callable[..., str], seed: int) -> None:
    said = mistake("adding", "--seed", seed)
    assert f"--seed must be a whole number from 0 to 4294967295, but is {seed}" in said
