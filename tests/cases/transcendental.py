"""Inputs for the ops of `minidl.ops.transcendental`."""

import numpy as np

from tests.cases._case import Case
from tests.cases._elementwise import between, binary, unary

positive, any_number = between(0.2, 3.0), between(-2.0, 2.0)


def power(rng):
    cases = binary(positive, any_number)(rng)
    for exponent in (0, 1, 2, 3, -1, 0.5, 2.0):
        cases.append(Case((rng.uniform(0.3, 2.0, (3, 2)), exponent), note=f"exponent {exponent}"))
    cases.append(Case((-rng.uniform(0.3, 2.0, (3, 2)), 3), note="a base below 0"))
    cases.append(Case((2.5, rng.standard_normal((3, 2))), note="a number to a power"))
    zeros = np.array([0.0, 0.0, 1.5])
    cases.append(Case((zeros, 3.0), note="a base of 0"))
    return cases


CASES = {
    "Exp2": unary(any_number),
    "Expm1": unary(any_number),
    "Log1p": unary(between(-0.8, 3.0)),
    "Log2": unary(positive),
    "Log10": unary(positive),
    "Pow": power,
    "LogAddExp": binary(any_number, settings=({"binary": False}, {"binary": True})),
    "XLogY": binary(any_number, positive),
    "Erf": unary(any_number),
    "Erfc": unary(any_number),
    "Erfinv": unary(between(-0.9, 0.9)),
}
