"""Inputs for the ops of `minidl.ops.activation`."""

from tests.cases._elementwise import away, between, unary

any_number = between(-3.0, 3.0)

SOFTPLUS = (
    {"beta": 1.0, "threshold": 20.0},
    {"beta": 2.0, "threshold": 20.0},
    {"beta": 1.0, "threshold": float("inf")},
)
ELU = (
    {"alpha": 1.0, "scale": 1.0, "rate": 1.0},
    {"alpha": 0.7, "scale": 1.5, "rate": 1 / 0.7},
)

CASES = {
    "Sigmoid": unary(any_number),
    "Logit": unary(between(0.1, 0.9)),
    "Softplus": unary(any_number, SOFTPLUS),
    "Relu": unary(away(0.0)),
    "LeakyRelu": unary(away(0.0), ({"slope": 0.01}, {"slope": -0.2}, {"slope": 1.5})),
    "Elu": unary(away(0.0), ELU),
    "Hardswish": unary(away(-3.0, 3.0, scale=3.0)),
    "Silu": unary(any_number),
    "Gelu": unary(any_number),
    "GeluTanh": unary(any_number),
}
