"""Lists the figures and tables of the pages: of each the command that makes it, its time and its page."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A command, and what a page shows of its run."""

    command: str
    """The arguments of `python -m experiments`."""
    time: str
    """On 2 CPU cores."""
    page: str
    """The page that shows it and names the command."""
    figures: dict[str, str] = field(default_factory=dict)
    """{figure of the run: file in docs/}, without their endings; the first stands in the gallery."""
    table: tuple[int, ...] = ()
    """Paragraphs of the run's table.txt that the page quotes, under a comment `<!-- table of NAME -->`."""


LABORATORY, RESULTS, EXPERIMENTS = "docs/gradients.md", "docs/results.md", "experiments/README.md"
TRANSLATION, LABELLING = "docs/translation.md", "docs/labelling.md"
WORDS, SERIES, MACHINES = "docs/words.md", "docs/series.md", "docs/machines.md"
SPEECH, PARSING, AUTOENCODERS = "docs/speech.md", "docs/parsing.md", "docs/autoencoders.md"
PAIRS = "docs/pairs.md"
SOURCES = {
    "gradients": Source(
        "gradients", "1 min 10 s", "README.md", {"gradient_against_lag": "gradient_against_lag"}
    ),
    "jacobian_spectra": Source(
        "jacobian_spectra",
        "2 min 30 s",
        LABORATORY,
        {"singular_values": "jacobian_spectra", "growth_rates_after": "jacobian_growth_rates"},
    ),
    "lyapunov": Source(
        "lyapunov",
        "3 min 30 s",
        LABORATORY,
        {"random_nets": "lyapunov_random_nets", "during_training": "lyapunov_during_training"},
    ),
    "edge_of_chaos": Source(
        "edge_of_chaos",
        "2 min 45 s",
        LABORATORY,
        {"phase_diagram": "edge_phase_diagram", "depth_learnt": "edge_depth_learnt"},
    ),
    "cliff": Source(
        "cliff",
        "1 min 20 s",
        LABORATORY,
        {
            "one_unit_3d": "cliff_one_unit_3d",
            "bifurcation": "cliff_bifurcation",
            "one_unit_contours": "cliff_one_unit",
            "net_3d": "cliff_net_3d",
            "net_near_contours": "cliff_net_near",
            "net_losses": "cliff_net_losses",
        },
    ),
    "clipping": Source("clipping", "2 min", LABORATORY, {"outcomes": "clipping_outcomes"}),
    "flossing": Source(
        "flossing",
        "5 min",
        LABORATORY,
        {
            "training": "flossing_training",
            "exponents": "flossing_exponents",
            "gradient_against_lag_delayed_recall": "flossing_gradients",
        },
    ),
    "fixed_points": Source(
        "fixed_points",
        "45 s",
        LABORATORY,
        {"fixed_points": "flip_flop_fixed_points", "eigenvalues": "flip_flop_eigenvalues"},
    ),
    "attention_paths": Source(
        "attention_paths",
        "2 min 31 s",
        LABORATORY,
        {"influence_by_path": "influence_by_path", "gradient_by_distance": "gradient_by_distance"},
    ),
    "attention_speed": Source(
        'speed --cells lstm lru "transformer(layers=1, context=T)" --methods scan newton associative whole '
        "--batch-size 1",
        "1 min",
        LABORATORY,
        {"seconds_against_length": "seconds_against_length"},
    ),
    "claims": Source(
        "claims", "about 6 min, estimated", LABORATORY, {"lstm_explodes": "claims_lstm_explodes"}
    ),
    "health": Source(
        "adding --hidden-size 32 --steps 1000 --eval-every 500 --health.every 50 --devices 1",
        "1 min",
        LABORATORY,
        {"health": "health"},
    ),
    "long_memory": Source(
        "long_memory", "6 min 40 s", EXPERIMENTS, {"steps_to_solve": "steps_to_solve"}, table=(0, 1)
    ),
    "speed": Source("speed", "2 min", EXPERIMENTS, {"tokens_per_second": "tokens_per_second"}),
    "families": Source(
        "families",
        "3 min",
        RESULTS,
        {
            "families": "families",
            "perplexity_by_frequency": "families_perplexity_by_frequency",
            "gradient_against_lag": "families_gradient_against_lag",
        },
        table=(0,),
    ),
    "char_lm": Source(
        "char_lm",
        "1 min 6 s",
        RESULTS,
        {"training": "char_lm_training", "gradient_against_lag": "char_lm_gradient_against_lag"},
    ),
    "scaling_minutes": Source(
        "scaling --preset minutes --data.dir PATH/tinyshakespeare",
        "85 min",
        RESULTS,
        {"loss_against_size_and_time": "loss_against_size_and_time"},
        table=(0, 1),
    ),
    "translation": Source(
        "translation",
        "2 min 48 s",
        TRANSLATION,
        {"training": "translation_training", "attention_attention": "translation_attention"},
        table=(1,),
    ),
    "translation_analysis": Source(
        "translation_analysis",
        "2 min 46 s",
        TRANSLATION,
        {
            "bleu_against_length": "translation_length",
            "scores_against_width": "translation_width",
            "heads": "translation_heads",
        },
        table=(0, 1),
    ),
    "dialogue": Source("dialogue --devices 1", "about 1 min, estimated", PAIRS, table=(0, 1)),
    "hierarchical": Source(
        "hierarchical",
        "2 min 30 s",
        AUTOENCODERS,
        {"gradient_by_sentence": "hierarchical_gradient"},
        table=(0, 1),
    ),
    "depth": Source(
        "depth",
        "about 3 min, estimated",
        LABORATORY,
        {"token_rank": "depth_token_rank", "gradients": "depth_gradients"},
        table=(0, 1, 2, 3, 4),
    ),
    "few_pairs": Source("few_pairs", "about 3 min, estimated", PAIRS, table=(0, 1)),
    "summaries": Source("summaries", "about 1 min, estimated", PAIRS, table=(0, 1)),
    "captions": Source(
        "captions --devices 1",
        "about 3 min, estimated",
        PAIRS,
        {"attention": "captions_attention"},
        table=(0, 1),
    ),
    "source_gradients": Source(
        "source_gradients", "1 min 18 s", TRANSLATION, {"gradient_by_place": "gradient_by_place"}, table=(0,)
    ),
    "sentiment": Source(
        "sentiment",
        "31 s",
        LABELLING,
        {"turning": "sentiment_turning", "attention": "sentiment_attention"},
        table=(1, 2),
    ),
    "slot_filling": Source("slot_filling", "18 s", LABELLING, table=(1,)),
    "pos_tagging": Source(
        "pos_tagging",
        "16 s",
        LABELLING,
        {"confusions": "pos_tagging_confusions", "errors_by_frequency": "pos_tagging_errors"},
        table=(1,),
    ),
    "key_terms": Source("key_terms", "20 s", LABELLING, {"documents": "key_terms_documents"}, table=(0,)),
    "bert": Source("bert", "2 min", WORDS, {"training": "bert_training"}, table=(1, 2, 3)),
    "forecast": Source(
        "forecast",
        "33 s",
        SERIES,
        {
            "error_against_horizon": "forecast_horizon",
            "free_running": "forecast_free_running",
            "one_step": "forecast_one_step",
        },
        table=(0, 1, 2, 3),
    ),
    "music": Source(
        "music",
        "34 s",
        SERIES,
        {"training": "music_training", "piano_rolls": "music_piano_rolls"},
        table=(0, 1),
    ),
    "mnist": Source(
        "mnist", "1 min 12 s", SERIES, {"accuracy_against_minutes": "mnist_accuracy"}, table=(0, 1)
    ),
    "word_vectors": Source("word_vectors", "9 s", WORDS, {"word_map": "word_map"}, table=(1, 2)),
    "turing_tasks": Source(
        "turing_tasks",
        "about 2 min",
        MACHINES,
        {
            "training": "turing_training",
            "longer": "turing_longer",
            "heads_copy_ntm_slots_16_width_10": "turing_heads_copy",
            "heads_associative_recall_ntm_slots_16_width_10": "turing_heads_recall",
        },
        table=(0, 1),
    ),
    "turing_gradients": Source(
        "turing_gradients",
        "about 1 min 30 s",
        MACHINES,
        {"gradient_by_lag": "turing_gradient_by_lag", "memory_rows": "turing_memory_rows"},
        table=(0,),
    ),
    "image_rows": Source(
        "image_rows --devices 1",
        "about 2 min",
        MACHINES,
        {"heads_ntm_controller_dense_64_slots_16_width_20": "image_rows_heads"},
        table=(0, 1),
    ),
    "spoken_recall": Source(
        "spoken_recall",
        "about 3 min",
        MACHINES,
        {"heads_ntm_slots_16_width_20": "spoken_recall_heads"},
        table=(0, 1),
    ),
    "speech_gradients": Source(
        "speech_gradients",
        "about 1 min 30 s",
        LABORATORY,
        {"frame_gradients": "frame_gradients"},
        table=(0,),
    ),
    "speech": Source("speech", "about 2 min", SPEECH, {"alignment": "speech_alignment"}, table=(1,)),
    "speech_translation": Source(
        "speech_translation",
        "about 2 min",
        SPEECH,
        {"attention": "speech_translation_attention"},
        table=(1, 2),
    ),
    "audio_segments": Source(
        "audio_segments",
        "about 2 min, estimated",
        SPEECH,
        {
            "training": "audio_segments_training",
            "spectrograms": "audio_segments_spectrograms",
            "map": "audio_segments_map",
        },
        table=(1,),
    ),
    "parsing": Source(
        "parsing",
        "about 3 min",
        PARSING,
        {"f1_by_length": "parsing_f1", "trees": "parsing_trees"},
        table=(1,),
    ),
    "autoencoder": Source(
        "autoencoder", "about 3 min", AUTOENCODERS, {"by_length": "autoencoder_by_length"}, table=(1,)
    ),
    "skip_thought": Source("skip_thought", "2 min 32 s on a loaded machine", AUTOENCODERS, table=(1,)),
    "sentence_probes": Source(
        "sentence_probes",
        "2 min 15 s",
        AUTOENCODERS,
        {"probes": "sentence_probes"},
        table=(1,),
    ),
    "ngram_ptb": Source(
        'ngram --data.dir PATH/ptb --prompt "students opened their"',
        "12 s",
        RESULTS,
        {"perplexity": "ngram_perplexity", "size": "ngram_size"},
        table=(1, 2),
    ),
    "zaremba": Source(
        "language_model --preset zaremba_small --data.dir PATH/ptb --devices 1",
        "28 min",
        RESULTS,
        {"training": "zaremba_training"},
    ),
    "transformer_ptb": Source(
        "language_model --preset transformer_small --data.dir PATH/ptb --devices 1",
        "21 min",
        RESULTS,
        {"training": "transformer_ptb_training"},
    ),
}
