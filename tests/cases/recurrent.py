"""Inputs for the ops of `minidl.ops.recurrent`."""

import numpy as np

from tests.cases._case import Case

SIZES = ((3, 3), (4, 2, 2, 1), (2,), (0, 0), (1, 1, 1), (40, 40, 13), (40, 40))


def layers(rng, chunks, states=1, projected=False, **settings):
    """Equal and different lengths, both directions, with and without biases."""
    for sizes in SIZES[:-1] if settings.get("relu") else SIZES:  # of many numbers one is near 0
        large = sizes[0] == 40  # enough for the compiled kernels
        width, hidden = (5, 12) if large else (2, 3)
        out = 2 if projected else hidden
        biases = [None, None]
        if sizes != (2,):
            biases = [rng.standard_normal(chunks * hidden) for _ in range(2)]
        arrays = [rng.standard_normal((sum(sizes), width)), rng.standard_normal((sizes[0], out))]
        if states == 2:
            arrays.append(rng.standard_normal((sizes[0], hidden)))
        arrays += [rng.standard_normal((chunks * hidden, n)) / n for n in (width, out)]
        arrays += biases
        if states == 2:
            arrays.append(rng.standard_normal((out, hidden)) if projected else None)
        arrays.append(np.array(sizes))
        x = arrays[0]
        for reverse in (False, True):
            order2 = not (large and reverse)
            if reverse and len(sizes) > 1 and sizes[0] == sizes[-1] > 0:  # as a layer's batch_first
                x = x.reshape(sizes[0], len(sizes), width).swapaxes(0, 1)
            elif len(sizes) == 3 and sizes[0] == sizes[-1]:
                x = x.reshape(len(sizes), sizes[0], width)
            note = f"{sizes}, {reverse}, {settings}, {x.ndim}"
            given = (x, *arrays[1:])
            yield Case(given, {**settings, "reverse": reverse}, note, 1e-5, order2)


CASES = {
    "RNN": lambda rng: [*layers(rng, 1, relu=False), *layers(rng, 1, relu=True)],
    "LSTM": lambda rng: [*layers(rng, 4, 2), *layers(rng, 4, 2, projected=True)],
    "GRU": lambda rng: list(layers(rng, 3)),
}
