"""Optimizers for matrices: Adafactor (factored second moment) and Muon (orthogonal steps)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl.optim._tables import move_averages, plain_step
from minidl.optim.optimizer import Optimizer, check_range, zeros
from minidl.typing import Array


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5).

        g = grad                                            (-grad if maximize)
        beta2 = 1 - t^beta2_decay
        R = beta2 R + (1 - beta2) mean of g^2 over columns;    C: over rows
        V = R C / mean(R)                                   of a vector: V itself is kept
        U = g / sqrt(max(V, eps1^2));   U = U / max(1, rms(U) / d)
        param = (1 - lr weight_decay) param
        param = param - max(eps2, rms(param)) min(lr, 1 / sqrt(t)) U

    The state of an (n, m) matrix is n + m numbers (torch's "row_var" (n, 1) and "col_var" (1, m));
    axes before the last two are matrices of their own. eps = (eps1, eps2); eps1 None: the dtype's
    smallest relative step. As in torch, rms(param) is taken before the decay, and lr is both the
    limit of the relative step and the decay's factor. A RowSparse gradient takes the exact dense
    step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        check_range("Adafactor", "lr", group["lr"], 0.0, None)
        check_range("Adafactor", "weight_decay", group["weight_decay"], 0.0, None)
        check_range("Adafactor", "d", group["d"], 1.0, None)
        if group["beta2_decay"] > 0:
            raise ValueError(
                f"Adafactor: beta2_decay must be 0 or below, got {group['beta2_decay']}"
            )
        for i, value in enumerate(group["eps"]):
            if value is not None:
                check_range("Adafactor", f"eps[{i}]", value, 0.0, None)

    def _numbers(self, group):
        return ()

    def _state_shape(self, entry, p):
        if entry == "row_var":
            return (*p.shape[:-1], 1)
        return (*p.shape[:-2], 1, p.shape[-1]) if entry == "col_var" else p.shape

    def _update(self, p, grad, param, state, group, numbers):
        dtype, lr = param.dtype, float(group["lr"])
        names = ("row_var", "col_var") if p.ndim > 1 else ("variance",)
        if "step" not in state:
            state["step"] = 0
            for name in names:
                state[name] = zeros(p, shape=self._state_shape(name, p))
        state["step"] += 1
        new = state["step"] ** float(group["beta2_decay"])  # 1 - beta2
        eps1, eps2 = group["eps"]
        floor = float(np.finfo(dtype).eps) if eps1 is None else float(eps1)
        rate = max(float(eps2), _rms(param)) * min(lr, state["step"] ** -0.5)
        g = grad.reshape(p.shape) if not group["maximize"] else -grad.reshape(p.shape)
        if p.ndim > 1:
            update = _factored(g, state["row_var"].array, state["col_var"].array, new, floor)
        else:
            kept = state["variance"].array
            kept += dtype.type(new) * (g * g - kept)
            update = g / np.sqrt(np.maximum(kept, dtype.type(floor * floor)))
        update = update.reshape(-1)
        rate /= max(1.0, _rms(update) / float(group["d"]))
        # the decay, then the step, in one pass
        shrink = 1 - lr * float(group["weight_decay"])
        param *= dtype.type(shrink)
        plain_step(param, update, rate)


def _factored(g: Array, row: Array, col: Array, new: float, floor: float) -> Array:
    """Bring R (..., n, 1) and C (..., 1, m) up to date; g / sqrt(max(R C / mean(R), floor^2))."""
    real = g.dtype.type
    row += real(new) * (np.einsum("...ij,...ij->...i", g, g)[..., None] / real(g.shape[-1]) - row)
    col += real(new) * (np.einsum("...ij,...ij->...j", g, g)[..., None, :] / g.shape[-2] - col)
    share = row / np.maximum(row.mean(-2, keepdims=True), real(floor))
    if share.size and float(share.min()) * float(col.min()) >= floor * floor:
        return g * (1 / np.sqrt(share)) * (1 / np.sqrt(col))  # no root of each element
    return g / np.sqrt(np.maximum(share * col, real(floor * floor)))


def _rms(flat: Array) -> float:
    return float(np.linalg.norm(flat)) / max(1, flat.size) ** 0.5


class Muon(Optimizer):
    """Muon: momentum whose singular values are made equal (Jordan et al. 2024; Liu et al. 2025).

        m = momentum m + (1 - momentum) g
        u = momentum m + (1 - momentum) g  with nesterov, else m
        X = u / max(|u|, eps);   ns_steps times:  X = a X + (b A + c A^2) X,  A = X X^T
        param = (1 - lr weight_decay) param
        param = param - lr s X

    X comes near the matrix U V^T of u = U S V^T (a quintic Newton-Schulz iteration with
    ns_coefficients a, b, c; its singular values end between about 0.7 and 1.2). s, by adjust_lr_fn,
    for an (n, m) matrix: "original" or None sqrt(max(1, n / m)); "match_rms_adamw"
    0.2 sqrt(max(n, m)), which lets AdamW's lr and decay serve (arXiv:2502.16982).

    Only for the matrices inside a network: give embeddings, heads, vectors to AdamW. torch rounds
    X to bfloat16 before the iteration; here it stays in the parameter's dtype, so steps agree with
    torch's to about 1 %. A RowSparse gradient takes the exact dense step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        for setting in ("lr", "weight_decay", "momentum", "eps"):
            check_range("Muon", setting, group[setting], 0.0, None)
        if not 1 <= group["ns_steps"] < 100:
            raise ValueError(f"Muon: ns_steps must be from 1 to 99, got {group['ns_steps']}")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(
                f"Muon: ns_coefficients must be three numbers, got {group['ns_coefficients']}"
            )
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(
                "Muon: adjust_lr_fn must be None, 'original' or 'match_rms_adamw', got "
                f"{group['adjust_lr_fn']!r}"
            )
        for i, p in enumerate(group["params"]):
            if p.ndim != 2:
                raise ValueError(
                    f"Muon: parameter {i} {p.shape} is not a matrix; give vectors, and tensors "
                    "with more axes, to AdamW"
                )

    def _numbers(self, group):
        return ()

    def _update(self, p, grad, param, state, group, numbers):
        momentum, lr = float(group["momentum"]), float(group["lr"])
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = zeros(p)
        buffer = state["momentum_buffer"].array
        move_averages([buffer], [grad], 1 - momentum)
        update = buffer
        if group["nesterov"]:
            update = grad.reshape(p.shape) + grad.dtype.type(momentum) * (
                buffer - grad.reshape(p.shape)
            )
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        n, m = p.shape
        if group["adjust_lr_fn"] == "match_rms_adamw":
            rate = lr * 0.2 * max(n, m) ** 0.5
        else:
            rate = lr * max(1.0, n / m) ** 0.5
        param *= param.dtype.type(1 - lr * float(group["weight_decay"]))
        flat = np.ascontiguousarray(update).reshape(-1)
        plain_step(param, flat, rate)


def orthogonalized(
    matrix: Array, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Array:
    """The matrix with singular values near 1, by Newton-Schulz steps (see Muon)."""
    a, b, c = (matrix.dtype.type(number) for number in coefficients)
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # the smaller product
    x = x / max(float(np.linalg.norm(x)), float(eps))
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram.T)) @ x  # gram is symmetric: half a product
    return x.T if tall else x
