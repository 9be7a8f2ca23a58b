"""Known parametrizations: weight norm, spectral norm, orthogonal matrices."""

from typing import Any

import numpy as np

from minidl import linalg, random
from minidl._tensor import Tensor
from minidl.functional.joining import cat
from minidl.nn import functional as F
from minidl.nn.module import Module
from minidl.nn.utils.parametrize import register_parametrization
from minidl.typing import Array

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def tensor_of(function: str, module: Module, name: str) -> Tensor:
    """The module's parameter or buffer of that name."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{function}: {type(module).__name__} has no parameter or buffer {name!r}")
    return weight


def norm_except(weight: Tensor, dim: int) -> Tensor:
    """The norm of each slice along `dim`, other axes of size 1; of the whole tensor if dim = -1."""
    if dim == -1:
        return weight.norm()
    axes = tuple(axis for axis in range(weight.ndim) if axis != dim % weight.ndim)
    return weight.norm(dim=axes, keepdim=True) if axes else weight.abs()


class _WeightNorm(Module):
    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn length and direction apart (Salimans & Kingma 2016, arXiv:1602.07868).

        weight = g v / |v|

    g ("parametrizations.weight.original0") is the norm of each slice along `dim`: of each output
    for dim 0; None or, as in torch, -1: of the whole tensor. v is "original1".
    """
    tensor_of("weight_norm", module, name)
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


def as_matrix(array: Array, dim: int) -> Array:
    """The array with axis `dim` as rows: (size of dim, rest)."""
    rows = np.moveaxis(array, dim, 0)
    return rows.reshape(rows.shape[0], -1)


def unit(vector: Array, eps: float) -> Array:
    """vector / max(|vector|, eps)."""
    return vector / max(float(np.linalg.norm(vector)), eps)


def divided_by_sigma(weight: Tensor, u: Array, v: Array, dim: int) -> Tensor:
    """weight / (u^T W v); u and v are constants."""
    rest = [size for axis, size in enumerate(weight.shape) if axis != dim]
    outer = np.moveaxis(np.outer(u, v).reshape(weight.shape[dim], *rest), 0, dim)
    return weight / (weight * Tensor(np.ascontiguousarray(outer))).sum()


class _SpectralNorm(Module):
    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float):
        super().__init__()
        self.dim, self.eps = checked_dim(weight, dim), eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            matrix = as_matrix(weight.array, self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape):
                start = random.default_generator.standard_normal(size).astype(weight.dtype)
                self.register_buffer(name, Tensor(unit(start, eps)))
            self._power_method(matrix, 15)

    def _power_method(self, matrix: Array, steps: int) -> None:
        u, v = self._u, self._v
        for _ in range(steps):
            u.array[...] = unit(matrix @ v.array, self.eps)
            v.array[...] = unit(matrix.T @ u.array, self.eps)
        u.version[0] += 1
        v.version[0] += 1

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        if self.training:
            self._power_method(as_matrix(weight.array, self.dim), self.n_power_iterations)
        return divided_by_sigma(weight, self._u.array, self._v.array, self.dim)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def checked_dim(weight: Tensor, dim: int) -> int:
    """dim counted from the front."""
    if not -weight.ndim <= dim < weight.ndim:
        raise IndexError(f"spectral_norm: dim {dim} of a weight of shape {weight.shape}")
    return dim % weight.ndim


def default_dim(module: Module) -> int:
    """The axis of outputs: 1 in a transposed convolution, else 0."""
    from minidl.nn import ConvTranspose1d, ConvTranspose2d

    return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d)) else 0


def check_iterations(n_power_iterations: int) -> None:
    """Raise unless there is at least one."""
    if n_power_iterations < 1:
        raise ValueError(
            f"spectral_norm: n_power_iterations must be 1 or more, got {n_power_iterations}"
        )


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide the weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957).

        weight = W / (u^T W v),   u, v the first singular vectors of W as a matrix with rows `dim`

    u and v are buffers, brought nearer by n_power_iterations steps of u = W v / |W v|,
    v = W^T u / |W^T u| each time the weight is read in training; they are constants to the
    gradient. dim None: 0, and 1 for transposed convolutions. A vector is divided by its norm.
    """
    check_iterations(n_power_iterations)
    weight = tensor_of("spectral_norm", module, name)
    dim = default_dim(module) if dim is None else dim
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )


class _Orthogonal(Module):
    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool):
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            signs = np.diagonal(x.array, axis1=-2, axis2=-1).astype(np.int32).astype(x.dtype)
            q = _householder_product(x.tril(-1)) * Tensor(np.ascontiguousarray(signs[..., None, :]))
        else:
            x = x.tril()
            if n != k:
                x = cat([x, Tensor(np.zeros((*x.shape[:-1], n - k), x.dtype))], -1)
            a = x - x.mT  # skew-symmetric
            if self.orthogonal_map == "matrix_exp":
                q = linalg.matrix_exp(a)
            else:
                eye = Tensor(np.eye(n, dtype=a.dtype))
                q = linalg.solve(eye - a * 0.5, eye + a * 0.5)
            q = q[..., :k] if n != k else q
        if self.use_trivialization and self.base is not None:
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, value: Tensor) -> Tensor:
        if value.shape != self.shape:
            raise ValueError(f"orthogonal: a tensor {self.shape} is needed, got {value.shape}")
        q = value.array
        wide = q.shape[-2] < q.shape[-1]
        q = q.swapaxes(-1, -2) if wide else q
        n, k = q.shape[-2:]
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    f"orthogonal: {self.orthogonal_map} without use_trivialization has no inverse, "
                    "so its tensor cannot be assigned"
                )
            found = _reflectors(q)
            return Tensor(np.ascontiguousarray(found.swapaxes(-1, -2) if wide else found))
        if n != k:
            more = random.default_generator.standard_normal((*q.shape[:-1], n - k))
            q = np.concatenate([q, more.astype(q.dtype)], -1)
        if n != k or not _is_orthogonal(q):
            q = _made_orthogonal(q)
        self.base = Tensor(q.copy())
        start = np.zeros(value.shape, value.dtype)
        places = np.arange(min(n, k))
        start[..., places, places] = -1  # householder(-I) is I; the other maps ignore the diagonal
        return Tensor(start)


def _householder_product(a: Tensor) -> Tensor:
    """The first k columns of H_1 ... H_k, H_i = I - 2 v v^T / v^T v, v = column i of a with 1 at i.

    a (..., n, k), zero on and above the diagonal; returns (..., n, k).
    """
    n, k = a.shape[-2:]
    vectors = a + Tensor(np.eye(n, k, dtype=a.dtype))
    q = Tensor(np.broadcast_to(np.eye(n, k, dtype=a.dtype), a.shape).copy())
    for i in reversed(range(k)):
        v = vectors[..., i : i + 1]  # (..., n, 1)
        scale = 2.0 / (v * v).sum(-2, keepdim=True)
        q = q - (scale * v) @ (v.mT @ q)
    return q


def _reflectors(matrices: Array) -> Array:
    """Householder vectors below the diagonal, signs on it; their product is Q of matrix = Q R."""
    r = np.array(matrices)
    n, k = r.shape[-2:]
    out = np.zeros_like(r)
    for one, store in zip(r.reshape(-1, n, k), out.reshape(-1, n, k)):
        for i in range(k):
            x = one[i:, i].copy()
            norm = np.linalg.norm(x)
            if i == n - 1 or not np.any(x[1:]):
                store[i, i] = -1.0 if x[0] >= 0 else 1.0  # the reflection of e_i turns it round
                continue
            beta = -norm if x[0] >= 0 else norm
            v = x.copy()
            v[0] -= beta
            v /= v[0]
            one[i:] -= np.outer(2.0 / (v @ v) * v, v @ one[i:])
            store[i + 1 :, i] = v[1:]
            store[i, i] = np.sign(beta)
    return out


def _is_orthogonal(q: Array) -> bool:
    eps = 10 * q.shape[-1] * float(np.finfo(q.dtype).eps)
    return np.allclose(q.swapaxes(-1, -2) @ q, np.eye(q.shape[-1]), atol=eps)


def _made_orthogonal(matrices: Array) -> Array:
    """Q of matrix = Q R with a positive diagonal of R."""
    q, r = np.linalg.qr(matrices)
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    return q * np.where(signs == 0, 1, signs)[..., None, :].astype(q.dtype)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix (n, k) orthogonal: Q^T Q = I for n >= k, Q Q^T = I for a wide one.

    By orthogonal_map, of the original X, A = tril(X) - tril(X)^T:

        "matrix_exp"    Q = exp(A)                             the default for square matrices
        "cayley"        Q = (I - A / 2)^-1 (I + A / 2)
        "householder"   Q = H_1 ... H_k times the signs on X's diagonal, H_i the reflection whose
                        vector stands below the diagonal in column i      the default for others

    use_trivialization: Q is multiplied by a fixed base (a buffer), so that X = -I stands for the
    value the tensor had (made orthogonal by QR), and learning starts there (Lezcano-Casado 2019,
    arXiv:1909.09501). Axes before the last two are matrices of their own.
    """
    weight = tensor_of("orthogonal", module, name)
    if weight.ndim < 2:
        raise ValueError(f"orthogonal: a matrix is needed, {name} is {weight.shape}")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            "orthogonal: orthogonal_map must be 'matrix_exp', 'cayley' or 'householder', got "
            f"{orthogonal_map!r}"
        )
    made: Any = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
