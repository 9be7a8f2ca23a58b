"""Gradients against finite differences."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl._walk import grad


def gradcheck(
    function: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare gradients with central differences, along every coordinate of every input.

        (f(x + eps e_i) - f(x - eps e_i)) / (2 eps)  against  d f / d x_i

    function: of Tensors, returns a Tensor or a tuple; inputs: float64 Tensors, those that require a
    gradient are checked. Raises RuntimeError with the worst difference, or returns False.
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    if not checked:
        raise ValueError("gradcheck: no input requires a gradient")
    for t in checked:
        if t.dtype != np.float64:
            raise ValueError(f"gradcheck: differences need float64 inputs, got {t.dtype}")
    for which, out in enumerate(_outputs(function(*inputs))):
        rng = np.random.default_rng(which)
        weights = rng.standard_normal(out.shape)
        analytic = grad(out, checked, Tensor(weights), allow_unused=True)
        for i, t in enumerate(checked):
            numeric = _differences(function, inputs, t, which, weights, eps)
            part = analytic[i]
            known = np.zeros_like(t.array) if part is None else part.array
            if not np.allclose(known, numeric, rtol=rtol, atol=atol, equal_nan=True):
                if not raise_exception:
                    return False
                worst = np.max(np.abs(known - numeric))
                raise RuntimeError(
                    f"gradcheck: output {which}, input {i}: gradient and difference quotient "
                    f"differ by {worst:.3g} (rtol {rtol:g}, atol {atol:g})"
                )
    return True


def gradgradcheck(
    function: Callable[..., Any], inputs: Any, seed: int = 0, **tolerances: Any
) -> bool:
    """`gradcheck` of the gradient itself, started from a random vector."""
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [t for t in inputs if isinstance(t, Tensor) and t.requires_grad]
    rng = np.random.default_rng(seed)
    starts = [
        Tensor(rng.standard_normal(out.shape), requires_grad=True)
        for out in _outputs(function(*inputs))
    ]

    def gradient(*arguments: Any) -> Any:
        given = arguments[: len(inputs)]
        outs = _outputs(function(*given))
        wanted = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
        parts = grad(outs, wanted, arguments[len(inputs) :], create_graph=True, allow_unused=True)
        return tuple(p for p in parts if p is not None and p.requires_grad)

    if not checked:
        raise ValueError("gradgradcheck: no input requires a gradient")
    return gradcheck(gradient, (*inputs, *starts), **tolerances)


def _outputs(outs: Any) -> list[Tensor]:
    outs = outs if isinstance(outs, (tuple, list)) else [outs]
    return [o for o in outs if isinstance(o, Tensor) and o.requires_grad]


def _differences(function, inputs, t, which, weights, eps):
    # values are changed behind the tape's back: the storage's version stays as it was
    numeric = np.zeros_like(t.array)
    values = t.array
    for place in np.ndindex(values.shape):
        pair = []
        for step in (eps, -eps):
            t.array = values.copy()
            t.array[place] += step
            pair.append((_outputs(function(*inputs))[which].array * weights).sum())
        numeric[place] = (pair[0] - pair[1]) / (2 * eps)
    t.array = values
    return numeric
