"""Inputs for the ops of `minidl.ops.elementwise`."""

from tests.cases._case import Case
from tests.cases._elementwise import SHAPES, away, between, binary, unary

positive, any_number = between(0.2, 3.0), between(-2.0, 2.0)


def masked(rng):
    return [Case((rng.standard_normal(s), rng.random(s) < 0.5), note=f"{s}") for s in SHAPES]


CASES = {
    "Add": binary(any_number, numbers=(2.5, 3)),
    "Sub": binary(any_number, numbers=(2.5, 3)),
    "Mul": binary(any_number, numbers=(2.5, 3)),
    "Div": binary(away(0.0, gap=0.3), numbers=(2.5, 3)),
    "Neg": unary(any_number),
    "Exp": unary(any_number),
    "Log": unary(positive),
    "Sqrt": unary(positive),
    "Masked": masked,
    "Tanh": unary(any_number),
    "Alias": unary(any_number),
}
