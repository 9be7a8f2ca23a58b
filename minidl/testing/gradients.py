"""check_gradients: an op's backward is the derivative of its forward, to the second order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl import functional
from minidl._apply import apply
from minidl._tensor import Tensor
from minidl._walk import grad
from minidl.ops._op import Op
from minidl.typing import Array

_STEP = 1e-5  # of the central differences, whose error is its square times the third derivative


def check_gradients(
    op: type[Op], *arrays: Any, atol: float = 1e-6, order: int = 2, seed: int = 0, **settings: Any
) -> None:
    """Compare an op's gradients with central differences along random directions, in float64.

        <gradient, v>   against   (f(x + h v) - f(x - h v)) / 2h,   f = sum of random weights * outs

    arrays: the op's arrays; floating point ones are differentiated unless `op.constants` names
    them. Checked: first derivatives, and second ones if order is 2 (of the gradient in the arrays
    and in what it started from); all arrays and the incoming gradient read-only, none changed; the
    same result from strided and Fortran-ordered arrays and from a broadcast incoming gradient; one
    array used twice gets both gradients; float32 stays float32; a fused op equals its composite.
    Raises AssertionError that names op, array and difference.
    """
    rng = np.random.default_rng(seed)
    inputs = [_doubled(a) for a in arrays]
    names = [n for n, a in zip(op.arrays, inputs) if _is_float(a) and n not in op.constants]
    places = [op.arrays.index(name) for name in names]
    bytes_before = [a.tobytes() if isinstance(a, np.ndarray) else a for a in inputs]

    outs = _outputs(_call(op, inputs, settings, ()))
    weights = [_frozen(rng.standard_normal(out.shape)) for out in outs if _is_float(out.array)]
    if not op.differentiable or not places or not weights:
        return
    first = _first_order(op, inputs, settings, places, weights)
    for name, part in zip(names, first):
        if part is None:
            raise AssertionError(
                f"{op.__name__}: no gradient for {name}; if it has none, name it in `constants`"
            )
    for place, name, part in zip(places, names, first):
        assert part.shape == inputs[place].shape, f"{op.__name__}: d{name} has shape {part.shape}"
        value = _projected(op, settings, weights)
        _compare(op, f"d{name}", value, inputs, place, part, atol, rng)
    after = [a.tobytes() if isinstance(a, np.ndarray) else a for a in inputs]
    assert after == bytes_before, f"{op.__name__}: an input was changed"

    _check_layouts(op, inputs, settings, places, weights, first)
    _check_shared(op, inputs, settings, places, weights, first)
    _check_float32(op, inputs, settings, places, weights, first)
    if op.composite is not None:
        _check_composite(op, inputs, settings, places, weights, first)
    if order > 1:
        _check_second(op, inputs, settings, places, names, weights, atol, rng)


def _check_layouts(op, inputs, settings, places, weights, first) -> None:
    for layout in (_strided, _fortran):
        turned = [layout(a) if isinstance(a, np.ndarray) else a for a in inputs]
        parts = _first_order(op, turned, settings, places, [layout(w) for w in weights])
        for want, got in zip(first, parts):
            _same(op, got, want, 1e-10, f"{layout.__name__[1:]} arrays")
    ones = [np.ones(w.shape) for w in weights]
    flat = [np.broadcast_to(np.float64(1.0), w.shape) for w in weights]  # all strides are 0
    expected = _first_order(op, inputs, settings, places, ones)
    for want, got in zip(expected, _first_order(op, inputs, settings, places, flat)):
        _same(op, got, want, 1e-10, "a broadcast incoming gradient")


def _check_shared(op, inputs, settings, places, weights, first) -> None:
    tensors = _tensors(inputs, places)
    outs = []
    for _ in range(2):
        outs += [o for o in _outputs(apply(op, *tensors, **settings)) if o.requires_grad]
    wanted = [tensors[p] for p in places]
    parts = grad(outs, wanted, [Tensor(w) for w in weights] * 2, allow_unused=True)
    for want, got in zip(first, parts):
        _same(op, _dense(got), 2 * want, 1e-9, "an array used twice")


def _check_float32(op, inputs, settings, places, weights, first) -> None:
    single = [a.astype(np.float32) if _is_float(a) else a for a in inputs]
    for out in _outputs(_call(op, single, settings, ())):
        if _is_float(out.array):
            assert out.dtype == np.float32, f"{op.__name__}: float32 in, {out.dtype} out"
    parts = _first_order(op, single, settings, places, [w.astype(np.float32) for w in weights])
    for want, got in zip(first, parts):
        assert got.dtype == np.float32, f"{op.__name__}: float32 in, gradient {got.dtype}"
        _same(op, got, want, 2e-3, "float32")


def _check_composite(op, inputs, settings, places, weights, first) -> None:
    tensors = _tensors(inputs, places)
    arguments = [Tensor(t) if isinstance(t, np.ndarray) else t for t in tensors]
    outs = _outputs(op.composite(functional, *arguments, **settings))
    for got, want in zip(outs, _outputs(_call(op, inputs, settings, ()))):
        _same(op, got.array, want.array, 1e-9, "the composite's value")
    pairs = [(o, Tensor(w)) for o, w in zip(outs, weights) if o.requires_grad]
    wanted = [tensors[p] for p in places]
    parts = grad([o for o, _ in pairs], wanted, [w for _, w in pairs], allow_unused=True)
    for known, part in zip(first, parts):
        _same(
            op, np.zeros_like(known) if part is None else _dense(part), known, 1e-8,
            "the composite's gradient",
        )


def _check_second(op, inputs, settings, places, names, weights, atol, rng) -> None:
    """Differentiate s = sum of random * gradients, in the arrays and in the incoming gradient."""
    directions = [rng.standard_normal(inputs[p].shape) for p in places]

    def second(values: list[Any], starts: list[Array], need: bool) -> tuple[float, list[Any]]:
        tensors = _tensors(values, places)
        begun = [Tensor(w, requires_grad=need) for w in starts]
        outs = [o for o in _outputs(apply(op, *tensors, **settings)) if o.requires_grad]
        wanted = [tensors[p] for p in places]
        parts = grad(outs, wanted, begun, create_graph=True, allow_unused=True)
        total: Any = Tensor(np.zeros(()))
        for part, v in zip(parts, directions):
            if part is not None:
                total = total + (part * Tensor(v)).sum()
        if not need:
            return total.item(), []
        known = (
            grad(total, [*wanted, *begun], allow_unused=True)
            if total.requires_grad
            else [None] * (len(wanted) + len(begun))
        )
        return total.item(), [None if k is None else _dense(k) for k in known]

    _, parts = second(inputs, weights, True)
    count = len(places)
    for place, name, part in zip(places, names, parts[:count]):

        def of_input(values: list[Any]) -> float:
            return second(values, weights, False)[0]

        known = np.zeros(inputs[place].shape) if part is None else part
        _compare(op, f"second derivative in {name}", of_input, inputs, place, known, atol, rng)
    for i, part in enumerate(parts[count:]):

        def of_start(starts: list[Any]) -> float:
            return second(inputs, starts, False)[0]

        known = np.zeros(weights[i].shape) if part is None else part
        what = f"derivative of the gradient in dout {i}"
        _compare(op, what, of_start, list(weights), i, known, atol, rng)


def _compare(
    op: type[Op], what: str, value: Callable[[list[Any]], float], arrays: list[Any],
    place: int, known: Array, atol: float, rng: np.random.Generator,
) -> None:
    """<known, v> against the difference quotient of `value` along v, for two random v."""
    x = arrays[place]
    for _ in range(2):
        v = rng.standard_normal(x.shape)
        pair = []
        for step in (_STEP, -_STEP):
            moved = list(arrays)
            moved[place] = _frozen(x + step * v)
            pair.append(value(moved))
        numeric = (pair[0] - pair[1]) / (2 * _STEP)
        analytic = float((known * v).sum())
        scale = 1 + abs(numeric) + float(np.abs(known).sum() if known.size < 50 else 0)
        assert abs(numeric - analytic) <= atol * scale, (
            f"{op.__name__}: {what}: along a random direction the gradient says {analytic:.10g}, "
            f"the difference quotient {numeric:.10g}"
        )


def _projected(op, settings, weights) -> Callable[[list[Any]], float]:
    def value(values: list[Any]) -> float:
        outs = _outputs(_call(op, values, settings, ()))
        floats = [o.array for o in outs if _is_float(o.array)]
        return float(sum((o * w).sum() for o, w in zip(floats, weights)))

    return value


def _first_order(op, inputs, settings, places, weights) -> list[Any]:
    tensors = _tensors(inputs, places)
    result = apply(op, *tensors, **settings)
    outs = [o for o in _outputs(result) if o.requires_grad]
    assert len(outs) == len(weights), f"{op.__name__}: not every float output has a gradient"
    starts = [Tensor(_frozen_view(w)) for w in weights]
    parts = grad(outs, [tensors[p] for p in places], starts, allow_unused=True)
    return [None if part is None else _dense(part) for part in parts]


def _call(op, inputs, settings, places) -> Any:
    return apply(op, *_tensors(inputs, places), **settings)


def _tensors(inputs: Sequence[Any], places: Sequence[int]) -> list[Any]:
    """Arrays to be differentiated as leaves; the others as they are."""
    return [
        Tensor(_frozen_view(a), requires_grad=True) if i in places else a
        for i, a in enumerate(inputs)
    ]


def _outputs(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def _dense(part: Any) -> Array:
    return part.to_dense() if hasattr(part, "to_dense") else part.array


def _is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def _doubled(a: Any) -> Any:
    if not isinstance(a, np.ndarray):
        return a
    return _frozen(a.astype(np.float64) if a.dtype.kind == "f" else a.copy())


def _frozen(a: Array) -> Array:
    a = np.asarray(a)
    a.flags.writeable = False
    return a


def _frozen_view(a: Array) -> Array:
    view = a.view()
    view.flags.writeable = False
    return view


def _strided(a: Array) -> Array:
    """The same values, every other element of a longer buffer along the last axis."""
    if not a.ndim:
        return a
    wide = np.full((*a.shape[:-1], 2 * a.shape[-1]), 77, a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def _fortran(a: Array) -> Array:
    return np.asfortranarray(a) if a.ndim > 1 else a


def _same(op: type[Op], got: Any, want: Array, rtol: float, what: str) -> None:
    np.testing.assert_allclose(
        got, want, rtol=rtol, atol=rtol * (1 + float(np.abs(want).max(initial=0.0))),
        err_msg=f"{op.__name__}, {what}",
    )
