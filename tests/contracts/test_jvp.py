"""J v of every op, by pulling back twice, against central differences."""

import numpy as np
import pytest

from minidl import Tensor, func
from minidl._apply import apply
from minidl.ops._op import REGISTRY
from tests.contracts.test_ops import CASES

NAMES = sorted(name for name in CASES if name in REGISTRY and REGISTRY[name].differentiable)
STEP = 1e-6


def _function(op, case):
    """The op of its differentiable arrays in float64, and these."""
    arrays = [
        a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
        for a in case.arrays
    ]
    places = [
        i
        for i, a in enumerate(arrays)
        if isinstance(a, np.ndarray) and a.dtype.kind == "f" and op.arrays[i] not in op.constants
    ]

    def function(*tensors):
        given = [Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
        for i, x in zip(places, tensors):
            given[i] = x
        out = apply(op, *given, **case.settings)
        outs = out if isinstance(out, tuple) else (out,)
        return tuple(o for o in outs if o.dtype.kind == "f")

    return function, [arrays[i] for i in places]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Cast"])  # it rounds
def test_jvp(name):
    op, rng = REGISTRY[name], np.random.default_rng(1)
    cases = [case for case in CASES[name](np.random.default_rng(0)) if case.order2][:2]
    for case in cases:
        function, points = _function(op, case)
        if not points:
            continue
        tangents = [rng.standard_normal(x.shape) for x in points]
        _, pushed = func.jvp(
            function, tuple(map(Tensor, points)), tuple(Tensor(v) for v in tangents)
        )
        ahead, behind = (
            function(*[Tensor(x + sign * STEP * v) for x, v in zip(points, tangents)])
            for sign in (1, -1)
        )
        for part, a, b in zip(pushed, ahead, behind):
            known = (a.array - b.array) / (2 * STEP)
            np.testing.assert_allclose(part.numpy(), known, rtol=1e-4, atol=1e-5)
