"""Inputs for the ops of `minidl.ops.conv`."""

import numpy as np

from tests.cases._case import Case

# (x's axes, channels in, out, kernel, stride, padding, dilation, groups)
SHAPES = (
    ((5, 6), 2, 3, (3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((5, 6), 2, 4, (3, 3), (2, 1), (1, 2), (1, 2), 2),
    ((4, 4), 3, 6, (3, 3), (1, 1), (1, 1), (1, 1), 3),  # depthwise
    ((7, 5), 2, 2, (3, 3), (2, 2), (1, 1), (2, 1), 2),  # depthwise, with steps
    ((9, 8), 3, 2, (1, 1), (1, 1), (0, 0), (1, 1), 1),  # one point
    ((9, 8), 4, 2, (1, 1), (1, 1), (0, 0), (1, 1), 2),
    ((3, 2), 2, 3, (3, 2), (1, 1), (0, 0), (1, 1), 1),  # as large as the image
    ((6, 5), 2, 3, (4, 4), (2, 2), (1, 1), (1, 1), 1),
    ((12, 16), 3, 4, (3, 3), (1, 1), (1, 1), (1, 1), 1),  # enough for the kernels
    ((7,), 2, 3, (3,), (2,), (1,), (1,), 1),
    ((6,), 2, 4, (2,), (1,), (2,), (2,), 2),
    ((1,), 1, 1, (1,), (1,), (0,), (1,), 1),
)


def after(size, kernel, stride, padding, dilation):
    return tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    )


def shapes():
    for number, (axes, c, o, kernel, stride, padding, dilation, groups) in enumerate(SHAPES):
        rest = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        size = after(axes, kernel, stride, padding, dilation)
        for images in (2, 0) if number < 2 else (2,):
            x, y = (images, c, *axes), (images, o, *size)
            yield f"{x} {kernel} {rest}", x, y, (o, c // groups, *kernel), rest


def convs(rng):
    for note, x, y, weight, rest in shapes():
        arrays = rng.standard_normal(x), rng.standard_normal(weight), rng.standard_normal(y[1])
        yield Case(arrays, {"size": y[2:], **rest}, note)
        if x[0]:
            yield Case((*arrays[:2], None), {"size": y[2:], **rest}, f"{note} without bias")


def transposes(rng):
    for note, x, y, weight, rest in shapes():
        arrays = rng.standard_normal(y), rng.standard_normal(weight), rng.standard_normal(x[1])
        yield Case(arrays, {"size": x[2:], **rest}, note)
        if x[0]:
            yield Case((*arrays[:2], None), {"size": x[2:], **rest}, f"{note} without bias")


def weights(rng):
    for note, x, y, weight, rest in shapes():
        arrays = rng.standard_normal(x), rng.standard_normal(y)
        yield Case(arrays, {"kernel": weight[2:], **rest}, note)


def columns(rng, back):
    for axes, _, _, kernel, stride, padding, dilation, _ in SHAPES[:9]:
        size = after(axes, kernel, stride, padding, dilation)
        rest = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        for images in (2, 0):
            cols = (images, 3 * np.prod(kernel), np.prod(size))
            if back:
                settings = {"size": axes, "positions": size, **rest}
                yield Case((rng.standard_normal(cols),), settings, f"{axes} {rest}")
            else:
                x = rng.standard_normal((images, 3, *axes))
                yield Case((x,), {"size": size, **rest}, f"{axes} {rest}")


CASES = {
    "Col2Im": lambda rng: list(columns(rng, True)),
    "Conv": lambda rng: list(convs(rng)),
    "ConvTranspose": lambda rng: list(transposes(rng)),
    "ConvWeight": lambda rng: list(weights(rng)),
    "Im2Col": lambda rng: list(columns(rng, False)),
}
