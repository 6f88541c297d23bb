"""Measurements of a cell or a trained model: arrays in, arrays out."""

from analysis.attention_maps import HeadStatistics, attention_maps, head_statistics
from analysis.depth_scales import DepthScales, depth_scales
from analysis.error_surface import (
    ErrorSurface,
    coordinates,
    hessian_directions,
    loss_surface,
    one_parameter,
    random_direction,
)
from analysis.exponents import LyapunovSpectrum
from analysis.first_nonfinite import FirstNonfinite, first_nonfinite
from analysis.fixed_points import FixedPoints, find_fixed_points, principal_axes
from analysis.gated_mean_field import PopulationTheory, gated_spectral_radius, population_theory
from analysis.gradients import (
    gradient_by_lag,
    half_life,
    lag_quantiles,
    log_slope,
    parameter_gradient_by_lag,
    state_gradients,
)
from analysis.influence import (
    influence,
    influence_matrices,
    matrix_norms,
    memory_influence,
    memory_influence_matrices,
    sequence_jacobians,
)
from analysis.influence_paths import influence_by_path
from analysis.jacobian import (
    jacobian_eigenvalues,
    jacobian_singular_values,
    log_condition_numbers,
    log_norms,
    spectral_radius,
    step_jacobians,
)
from analysis.leading_singular_values import leading_singular_values
from analysis.lyapunov import lyapunov_spectrum
from analysis.mean_field import (
    MeanField,
    edge_of_chaos,
    elman_deviations,
    tanh_mean_exponent,
    tanh_mean_field,
    tanh_mean_field_path,
)
from analysis.products import product_spectrum
from analysis.rest_state import (
    critical_forget_bias,
    gru_rest_factor,
    lstm_mean_rest_exponent,
    lstm_rest_factor,
    rest_exponent,
)
from analysis.scalar_rnn import ScalarRNN, ScalarRNNLoss, bistable_range, fixed_point_curve, last_state
from analysis.scores.bootstrap import bootstrap, bootstrap_interval
from analysis.scores.brackets import BracketF1, Bracketing, CompleteMatch
from analysis.scores.spans import SpanF1, iob_spans
from analysis.scores.statistics import ExactMatch, Statistics, corpus_score, sentence_counts
from analysis.scores.texts import Bleu, ChrF, LengthRatio
from analysis.standard_error import StartsSummary
from analysis.starts import exponents_over_starts
from analysis.unstable_manifold import unstable_manifold

__all__ = [
    "Bleu",
    "BracketF1",
    "Bracketing",
    "ChrF",
    "CompleteMatch",
    "DepthScales",
    "ErrorSurface",
    "ExactMatch",
    "FirstNonfinite",
    "FixedPoints",
    "HeadStatistics",
    "LengthRatio",
    "LyapunovSpectrum",
    "MeanField",
    "PopulationTheory",
    "ScalarRNN",
    "ScalarRNNLoss",
    "SpanF1",
    "StartsSummary",
    "Statistics",
    "attention_maps",
    "bistable_range",
    "bootstrap",
    "bootstrap_interval",
    "coordinates",
    "corpus_score",
    "critical_forget_bias",
    "depth_scales",
    "edge_of_chaos",
    "elman_deviations",
    "exponents_over_starts",
    "find_fixed_points",
    "first_nonfinite",
    "fixed_point_curve",
    "gated_spectral_radius",
    "gradient_by_lag",
    "gru_rest_factor",
    "half_life",
    "head_statistics",
    "hessian_directions",
    "influence",
    "influence_by_path",
    "influence_matrices",
    "iob_spans",
    "jacobian_eigenvalues",
    "jacobian_singular_values",
    "lag_quantiles",
    "last_state",
    "leading_singular_values",
    "log_condition_numbers",
    "log_norms",
    "log_slope",
    "loss_surface",
    "lstm_mean_rest_exponent",
    "lstm_rest_factor",
    "lyapunov_spectrum",
    "matrix_norms",
    "memory_influence",
    "memory_influence_matrices",
    "one_parameter",
    "parameter_gradient_by_lag",
    "population_theory",
    "principal_axes",
    "product_spectrum",
    "random_direction",
    "rest_exponent",
    "sentence_counts",
    "sequence_jacobians",
    "spectral_radius",
    "state_gradients",
    "step_jacobians",
    "tanh_mean_exponent",
    "tanh_mean_field",
    "tanh_mean_field_path",
    "unstable_manifold",
]
