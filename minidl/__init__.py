"""minidl: a deep-learning framework to be read, on NumPy with kernels compiled by Numba.

    import minidl
    from minidl import nn, optim
    import minidl.nn.functional as F

The names are PyTorch's: whoever knows one knows the other. What a plain tensor program needs is
loaded here; `nn` and the rest when they are first named, and Numba
when the first kernel is called.
"""

import importlib
from typing import TYPE_CHECKING, Any

from minidl import autograd
from minidl._tensor import Tensor
from minidl.autograd import (
    enable_grad,
    grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from minidl.dtypes import (
    bool,
    double,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    set_default_dtype,
    short,
    uint8,
)
from minidl.functional import *  # noqa: F403
from minidl.functional import __all__ as _functions

if TYPE_CHECKING:
    from minidl import (  # noqa: F401
        cuda,
        data,
        func,
        io,
        kernels,
        linalg,
        nn,
        onnx,
        optim,
        profiler,
        quantize,
        random,
        sparse,
        testing,
        train,
        utils,
    )

__version__ = "0.1.0"

_LAZY = {
    "cuda", "data", "func", "functional", "io", "kernels", "linalg", "nn", "onnx", "optim",
    "profiler", "quantize", "random", "sparse", "testing", "train", "utils",
}  # fmt: skip
_LAZY_NAMES = {
    "CaptureError": "minidl._capture",
    "Generator": "minidl.random",
    "RowSparse": "minidl.sparse",
    "get_num_threads": "minidl.kernels",
    "default_generator": "minidl.random",
    "get_rng_state": "minidl.random",
    "initial_seed": "minidl.random",
    "load": "minidl.io",
    "manual_seed": "minidl.random",
    "profile": "minidl.profiler",
    "save": "minidl.io",
    "seed": "minidl.random",
    "set_num_threads": "minidl.kernels",
    "set_rng_state": "minidl.random",
    "capture": "minidl._capture",
    "vmap": "minidl.func",
}

__all__ = [
    *_functions,
    *_LAZY,
    *_LAZY_NAMES,
    "Tensor",
    "autograd",
    "bool",
    "double",
    "enable_grad",
    "float",
    "float16",
    "float32",
    "float64",
    "get_default_dtype",
    "grad",
    "half",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "long",
    "no_grad",
    "set_default_dtype",
    "set_grad_enabled",
    "short",
    "uint8",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"minidl.{name}")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(_LAZY_NAMES[name]), name)
    raise AttributeError(f"module 'minidl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
