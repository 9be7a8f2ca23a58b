"""Inputs for the ops of `minidl.ops` pool, pad and resample."""

from tests.cases._case import Case

# (x, out's axes, kernel, stride, padding, dilation)
SHAPES = (
    ((2, 2, 6, 4), (3, 2), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((2, 1, 5, 7), (3, 6), (3, 3), (2, 1), (1, 1), (1, 1)),
    ((1, 2, 6, 6), (4, 3), (2, 3), (1, 2), (0, 1), (2, 1)),
    ((2, 3, 12, 20), (6, 10), (2, 2), (2, 2), (0, 0), (1, 1)),  # enough for the kernel
    ((2, 3, 7), (4,), (3,), (2,), (1,), (1,)),
    ((0, 3, 6), (3,), (2,), (2,), (0,), (1,)),
    ((1, 1, 1), (1,), (1,), (1,), (0,), (1,)),
)


def maxima(rng):
    for x, size, kernel, stride, padding, dilation in SHAPES:
        settings = {
            "size": size, "kernel": kernel, "stride": stride, "padding": padding,
            "dilation": dilation,
        }  # fmt: skip
        yield Case((rng.permuted(rng.standard_normal(x)),), settings, f"{x} {settings}")


def rules(size, kernel, stride, padding):
    for whole in (True, False):
        parts = zip(size, kernel, stride, padding)
        yield tuple(("regular", n, k, s, p, whole) for n, k, s, p in parts), None
    yield tuple(("adaptive", n) for n in size), None
    yield tuple(("adaptive", n) for n in size), 3


def means(rng, back):
    for x, size, kernel, stride, padding, dilation in SHAPES:
        if max(dilation) > 1:
            continue
        for rule, divisor in rules(size, kernel, stride, padding):
            settings = {"rules": rule, "divisor": divisor}
            if back:
                settings["size"] = x[2:]
            shape = (*x[:2], *size) if back else x
            yield Case((rng.standard_normal(shape),), settings, f"{shape} {settings}")


def pads(rng):
    for shape, numbers in (
        ((3,), ((1, 2),)),
        ((2, 3), ((0, 0), (2, 0))),
        ((2, 1, 3), ((1, 0), (0, 3), (1, 1))),
        ((0, 3), ((0, 0), (1, 1))),
        ((), ()),
    ):
        yield Case((rng.standard_normal(shape),), {"pads": numbers, "value": 1.5}, f"{shape}")


RULES = (
    ("reflect", 5, 4, 2),
    ("replicate", 5, 7, -1),
    ("circular", 5, 5, 3),
    ("nearest", 5, 8, 5 / 8, False),
    ("nearest-exact", 5, 3, 5 / 3, False),
    ("linear", 5, 9, 5 / 9, False),
    ("linear", 5, 9, 0.5, True),
    ("cubic", 5, 7, 5 / 7, False),
    ("area", 5, 3, 5 / 3, False),
    ("linear-aa", 5, 2, 5 / 2, False),
    ("cubic-aa", 5, 3, 5 / 3, False),
)


def resampled(rng):
    for rule in RULES:
        for shape, axis in (((2, 5), 1), ((2, 5, 3), 1), ((0, 5), 1), ((5, 300), 0)):
            settings = {"axis": axis, "rule": rule, "transposed": False}
            yield Case((rng.standard_normal(shape),), settings, f"{shape} {rule}")
    settings = {"axis": 0, "rule": ("linear", 5, 9, 0.5, True), "transposed": True}
    yield Case((rng.standard_normal((9, 2)),), settings, "transposed")


CASES = {
    "AvgPool": lambda rng: list(means(rng, False)),
    "AvgPoolSpread": lambda rng: list(means(rng, True)),
    "MaxPool": lambda rng: list(maxima(rng)),
    "Pad": lambda rng: list(pads(rng)),
    "Resample": lambda rng: list(resampled(rng)),
}
