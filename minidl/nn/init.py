"""First values of parameters, as torch.nn.init: each function fills a tensor in place.

`generator` is a numpy.random.Generator; without one, minidl's default generator, which
`minidl.manual_seed` seeds, draws.
"""

import math
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.random import default_generator
from minidl.typing import Array

__all__ = [
    "calculate_gain", "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_",
    "normal_", "ones_", "orthogonal_", "sparse_", "trunc_normal_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip

_Generator = np.random.Generator | None


def _fill(tensor: Tensor, values: Any) -> Tensor:
    """Not on the tape, but seen by a backward that saved the old values."""
    tensor.array[...] = values
    tensor.version[0] += 1
    return tensor


def _drawn(name: str, tensor: Tensor, generator: _Generator) -> Array:
    """Draws of the tensor's shape: `name` of Generator, in the tensor's dtype where it can."""
    source = default_generator if generator is None else generator
    dtype = tensor.dtype if tensor.dtype in (np.float32, np.float64) else np.float32
    return getattr(source, name)(tensor.shape, dtype=dtype)


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: _Generator = None
) -> Tensor:
    """Uniform on [a, b)."""
    return _fill(tensor, _drawn("random", tensor, generator) * (b - a) + a)


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: _Generator = None
) -> Tensor:
    """Normal with `mean` and standard deviation `std`."""
    return _fill(tensor, _drawn("standard_normal", tensor, generator) * std + mean)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: _Generator = None,
) -> Tensor:
    """Normal, but within [a, b]: values outside are drawn again."""
    if not a < b:
        raise ValueError(f"trunc_normal_: a must lie below b, got a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    source = default_generator if generator is None else generator
    if abs(_tail(low) - _tail(high)) < 0.02:  # almost all would have to be drawn again
        return _fill(tensor, _by_rejection(tensor.shape, low, high, source) * std + mean)
    values = _drawn("standard_normal", tensor, generator)
    flat = values.reshape(-1)
    outside = np.flatnonzero((flat < low) | (flat > high))
    while len(outside):
        again = source.standard_normal(len(outside))
        flat[outside] = again
        outside = outside[(again < low) | (again > high)]
    return _fill(tensor, np.clip(values * std + mean, a, b))


def _tail(x: float) -> float:
    """The normal probability above x."""
    return 0.5 * math.erfc(x / math.sqrt(2))


def _by_rejection(shape: tuple[int, ...], low: float, high: float, source: Any) -> Array:
    """Normal on a narrow [low, high]: uniform values kept in proportion to their density."""
    nearest = min(max(0.0, low), high)
    values = source.uniform(low, high, shape)
    flat = values.reshape(-1)
    waiting = np.arange(flat.size)
    while len(waiting):
        density = np.exp((nearest**2 - flat[waiting] ** 2) / 2)
        waiting = waiting[source.random(len(waiting)) > density]
        flat[waiting] = source.uniform(low, high, len(waiting))
    return values


def constant_(tensor: Tensor, val: float) -> Tensor:
    """All `val`."""
    return _fill(tensor, val)


def ones_(tensor: Tensor) -> Tensor:
    """All 1."""
    return _fill(tensor, 1)


def zeros_(tensor: Tensor) -> Tensor:
    """All 0."""
    return _fill(tensor, 0)


def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, or as much of it as fits."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a matrix is needed, got shape {tensor.shape}")
    return _fill(tensor, np.eye(tensor.shape[0], tensor.shape[1]))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight (O, C, ...) that passes its input channels through, for each group."""
    if not 3 <= tensor.ndim <= 5 or tensor.shape[0] % groups:
        raise ValueError(
            f"dirac_: a weight (O, C, 1 to 3 sizes) with O divisible by groups={groups} is "
            f"needed, got {tensor.shape}"
        )
    values = np.zeros(tensor.shape, tensor.dtype)
    each = tensor.shape[0] // groups
    centre = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for c in range(min(each, tensor.shape[1])):
            values[(g * each + c, c, *centre)] = 1
    return _fill(tensor, values)


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """(inputs, outputs) of one unit: for a convolution, times the kernel's positions."""
    if tensor.ndim < 2:
        raise ValueError(
            f"{name}: at least 2 axes are needed, (outputs, inputs, ...), got {tensor.shape}"
        )
    positions = math.prod(tensor.shape[2:])
    return tensor.shape[1] * positions, tensor.shape[0] * positions


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By how much weights must be larger before an activation, to keep the signal's variance.

    1 for linear, convolutions, sigmoid; 5/3 tanh; sqrt(2) relu; sqrt(2 / (1 + slope^2))
    leaky_relu, where `param` is the slope (0.01 if None); 3/4 selu.
    """
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, (int, float, type(None))):
            raise ValueError(f"calculate_gain: the slope must be a number, got {param!r}")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    known = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    if nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity not in known:
        raise ValueError(
            f"calculate_gain: unknown nonlinearity {nonlinearity!r}; known are "
            f"{', '.join([*known, 'leaky_relu'])}"
        )
    return known[nonlinearity]


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: _Generator = None) -> Tensor:
    """Uniform on (-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    a = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: _Generator = None) -> Tensor:
    """Normal, std = gain sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    std = gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor)))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan_in, fan_out = _fans(name, tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: _Generator = None,
) -> Tensor:
    """Uniform on (-b, b), b = gain sqrt(3 / fan) (He et al. 2015, arXiv:1502.01852).

    a: the slope of leaky_relu; with sqrt(5), as in torch's layers, b is 1 / sqrt(fan_in).
    """
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: _Generator = None,
) -> Tensor:
    """Normal, std = gain / sqrt(fan) (He et al. 2015, arXiv:1502.01852)."""
    if 0 in tensor.shape:
        return tensor
    std = _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: _Generator = None) -> Tensor:
    """gain times a matrix with orthonormal rows or columns, the fewer of both.

    Axes after the first count as one. The Q of a normal matrix's QR, with the signs that make it
    uniformly distributed (Saxe et al. 2013, arXiv:1312.6120; Mezzadri 2007).
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: at least 2 axes are needed, got {tensor.shape}")
    if 0 in tensor.shape:
        return tensor
    rows, columns = tensor.shape[0], tensor.array.size // tensor.shape[0]
    source = default_generator if generator is None else generator
    q, r = np.linalg.qr(source.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return _fill(tensor, gain * (q if rows >= columns else q.T).reshape(tensor.shape))


def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: _Generator = None
) -> Tensor:
    """Normal with a share `sparsity` of each column set to 0 (Martens 2010)."""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: a matrix is needed, got shape {tensor.shape}")
    source = default_generator if generator is None else generator
    rows, columns = tensor.shape
    zero = math.ceil(sparsity * rows)
    values = source.normal(0.0, std, tensor.shape)
    for c in range(columns):
        values[source.permutation(rows)[:zero], c] = 0
    return _fill(tensor, values)
