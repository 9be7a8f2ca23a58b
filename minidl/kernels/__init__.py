"""Arrays in, arrays filled: compiled loops, each with its NumPy reference above it in its file.

    from minidl import kernels
    kernels.layer_norm_forward(x, weight, bias, eps, y, mean, rstd)

Inputs come first, outputs last; outputs are filled in place and nothing is returned. Arrays are
C-contiguous, all floats of one call have one dtype (float32 or float64), indices are int64, and
the caller has checked shapes and ranges: a kernel checks nothing.

Importing this package loads neither Numba nor any compiled code; the first call of a kernel does.
`kernel`, `piece`, `helper` and `prange` make kernels in other packages: see `_jit`.
"""

from minidl.kernels._jit import (
    ENABLED,
    REGISTRY,
    Kernel,
    by_dtype,
    helper,
    kernel,
    piece,
    prange,
)
from minidl.kernels._pieces import count_pieces, piece_bounds, rows_a_piece
from minidl.kernels._threads import get_num_threads, set_num_threads
from minidl.kernels.csr import csr_matmul
from minidl.kernels.elementwise import (
    exp_forward,
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    relu_backward,
    sigmoid_backward,
    sigmoid_forward,
    silu_backward,
    silu_forward,
    softplus_backward,
    softplus_forward,
    tanh_backward,
    tanh_forward,
)
from minidl.kernels.losses import (
    bce_with_logits_backward,
    bce_with_logits_forward,
    bpr_backward,
    bpr_forward,
)
from minidl.kernels.norm import layer_norm_backward, layer_norm_forward
from minidl.kernels.random import dropout
from minidl.kernels.scatter import gather_rows, group_ids, scatter_add_rows, segment_sum_rows
from minidl.kernels.softmax import (
    cross_entropy_backward,
    cross_entropy_forward,
    log_softmax_backward,
    log_softmax_forward,
    logsumexp,
    softmax_backward,
    softmax_forward,
)
from minidl.kernels.topk import topk_rows
from minidl.kernels.update import adagrad, adam, rmsprop, sgd
from minidl.kernels.update_rows import adagrad_rows, sgd_rows, sparse_adam_rows

__all__ = [
    "ENABLED",
    "REGISTRY",
    "Kernel",
    "adagrad",
    "adagrad_rows",
    "adam",
    "bce_with_logits_backward",
    "bce_with_logits_forward",
    "bpr_backward",
    "bpr_forward",
    "by_dtype",
    "count_pieces",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "csr_matmul",
    "dropout",
    "exp_forward",
    "gather_rows",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "get_num_threads",
    "group_ids",
    "helper",
    "kernel",
    "layer_norm_backward",
    "layer_norm_forward",
    "log_softmax_backward",
    "log_softmax_forward",
    "logsumexp",
    "piece",
    "piece_bounds",
    "prange",
    "relu_backward",
    "rmsprop",
    "rows_a_piece",
    "scatter_add_rows",
    "segment_sum_rows",
    "set_num_threads",
    "sgd",
    "sgd_rows",
    "sigmoid_backward",
    "sigmoid_forward",
    "silu_backward",
    "silu_forward",
    "softmax_backward",
    "softmax_forward",
    "softplus_backward",
    "softplus_forward",
    "sparse_adam_rows",
    "tanh_backward",
    "tanh_forward",
    "topk_rows",
]
