"""Arrays in, arrays filled: compiled loops, each with its NumPy reference above it in its file.

    from minidl import kernels
    kernels.layer_norm_forward(x, weight, bias, eps, y, mean, rstd)

Inputs come first, outputs last; outputs are filled in place and nothing is returned. Arrays are
C-contiguous, all floats of one call have one dtype (float32 or float64), indices are int64, and
the caller has checked shapes and ranges: a kernel checks nothing.

Importing this package loads no kernel: its file is loaded when it is first named, Numba when
the first one is called. A new kernel is listed in HOMES.
`kernel`, `piece`, `helper` and `prange` make kernels in other packages: see `_jit`.
"""

import importlib
from typing import Any

HOMES = {
    "_gemm": (
        "gemm",
    ),
    "_jit": (
        "COMPILED",
        "ENABLED",
        "Kernel",
        "REGISTRY",
        "by_dtype",
        "helper",
        "kernel",
        "piece",
        "prange",
    ),
    "_pieces": (
        "count_pieces",
        "piece_bounds",
        "rows_a_piece",
    ),
    "_threads": (
        "get_num_threads",
        "hold_blas",
        "set_num_threads",
    ),
    "_tile": (
        "pack_panels",
        "panels_shape",
    ),
    "_winograd": (
        "WINOGRAD_SIZES",
        "winograd_matrices",
    ),
    "activation": (
        "elu_backward",
        "elu_forward",
        "gelu_backward",
        "gelu_forward",
        "gelu_tanh_backward",
        "gelu_tanh_forward",
        "hardswish_backward",
        "hardswish_forward",
        "leaky_relu_backward",
        "leaky_relu_forward",
        "relu_backward",
        "relu_forward",
        "silu_backward",
        "silu_forward",
        "softplus_backward",
        "softplus_forward",
    ),
    "arithmetic_loops": (
        "arithmetic",
        "arithmetic_columns",
    ),
    "attention": (
        "attention_dropout",
    ),
    "attention_heads": (
        "attention_backward",
        "attention_forward",
    ),
    "channels": (
        "channel_affine",
        "channel_combine",
        "channel_moments",
        "channel_sums",
        "channel_totals",
    ),
    "bag": (
        "bag_max",
    ),
    "clip": (
        "clip_norm",
    ),
    "conv": (
        "col2im",
        "im2col",
    ),
    "convolution": (
        "convolve",
        "convolve_weight",
    ),
    "convolution_few": (
        "few_found",
        "few_input",
        "few_weight",
    ),
    "convolution_steps": (
        "steps_forward",
        "steps_input",
        "steps_weight",
        "turn_planes",
    ),
    "csr": (
        "csr_matmul",
    ),
    "depthwise": (
        "depthwise_forward",
        "depthwise_input",
        "depthwise_weight",
    ),
    "ctc": (
        "ctc_backward",
        "ctc_forward",
    ),
    "elementwise": (
        "erf_forward",
        "erfc_forward",
        "exp_forward",
        "sigmoid_backward",
        "sigmoid_forward",
        "tanh_backward",
        "tanh_forward",
    ),
    "extreme": (
        "max_rows",
        "share_rows",
    ),
    "losses": (
        "bce_with_logits_backward",
        "bce_with_logits_forward",
        "bpr_backward",
        "bpr_forward",
    ),
    "norm": (
        "layer_norm_backward",
        "layer_norm_forward",
        "rms_norm_backward",
        "rms_norm_forward",
        "unit_rows_backward",
        "unit_rows_forward",
    ),
    "pool": (
        "avg_pool_backward",
        "avg_pool_forward",
        "max_of_four_backward",
        "max_of_four_forward",
        "max_pool_backward",
        "max_pool_forward",
    ),
    "products": (
        "product",
        "product_batched",
        "weight_gradient",
    ),
    "program": (
        "elementwise_program",
    ),
    "quantized": (
        "int8_linear",
    ),
    "random": (
        "dropout",
    ),
    "ranking": (
        "bpr_sgd",
        "draw_in_blocks",
        "pair_blocks",
    ),
    "recurrent": (
        "rnn_backward",
        "rnn_forward",
    ),
    "recurrent_gru": (
        "gru_backward",
        "gru_forward",
    ),
    "recurrent_lstm": (
        "lstm_backward",
        "lstm_forward",
    ),
    "recurrent_weights": (
        "gate_sums_shape",
        "gate_weights",
    ),
    "resampling": (
        "resample",
    ),
    "scatter": (
        "gather_rows",
        "group_ids",
        "scatter_add_rows",
        "segment_sum_rows",
        "segment_table",
    ),
    "softmax": (
        "cross_entropy_backward",
        "cross_entropy_forward",
        "log_softmax_backward",
        "log_softmax_forward",
        "logsumexp",
        "softmax_backward",
        "softmax_forward",
    ),
    "sums": (
        "column_sums",
        "row_sums",
    ),
    "table_losses": (
        "linear_cross_entropy_forward",
        "linear_cross_entropy_gradients",
    ),
    "thin": (
        "thin_convolve",
        "thin_spread",
    ),
    "topk": (
        "topk_rows",
    ),
    "update": (
        "adagrad",
        "adam",
        "rmsprop",
        "sgd",
    ),
    "update_adaptive": (
        "adadelta",
        "adam_mixed",
        "adamax",
    ),
    "update_rows": (
        "adagrad_rows",
        "sgd_rows",
        "sparse_adam_rows",
    ),
    "update_sign": (
        "lion",
        "move_average",
        "rprop",
    ),
    "winograd": (
        "winograd_convolve",
        "winograd_weight",
    ),
    "winograd_packing": (
        "winograd_filters",
        "winograd_taps",
    ),
}
"""The names of each file."""

_HOME_OF = {name: home for home, names in HOMES.items() for name in names}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # later uses do not come here
    return value


def load_all() -> None:
    """Load every file, so that REGISTRY is complete."""
    for home in HOMES:
        importlib.import_module(f"{__name__}.{home}")
