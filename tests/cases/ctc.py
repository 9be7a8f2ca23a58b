"""Inputs for the op of `minidl.ops.ctc`."""

import numpy as np

from tests.cases._case import Case


def losses(rng):
    """Repeated labels, different lengths, an empty target, one step, no sample."""
    for steps, lengths, outs, classes in (
        ((6, 4, 6), None, (2, 1, 0), 3),
        ((1,), None, (1,), 2),
        ((5, 5), 5, (2, 2), 4),
        ((), 3, (), 3),
        ((20,) * 6, None, (5, 6, 7, 3, 2, 1), 5),
    ):
        time = lengths or max(steps)
        size = (len(steps), max(outs, default=1))
        targets = rng.integers(1, classes, size)
        if time == 5:
            targets[0] = 2  # the same label twice: a blank must stand between
        x = rng.standard_normal((time, len(steps), classes))
        arrays = (x, targets, np.array(steps, np.int64), np.array(outs, np.int64))
        settings = {"blank": 0, "normalised": False}
        yield Case(arrays, settings, f"{steps}, {outs}", 1e-5, order2=time < 10)


CASES = {"CTC": lambda rng: list(losses(rng))}
"""With normalised=True the gradient is, on purpose, another than that of the function: see there;
`tests/minidl/functional/test_ctc.py` compares it with PyTorch's."""
