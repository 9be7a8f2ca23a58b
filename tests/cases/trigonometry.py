"""Inputs for the ops of `minidl.ops.trigonometry`."""

from tests.cases._elementwise import away, between, binary, unary

inside, any_number = between(-0.9, 0.9), between(-2.0, 2.0)

CASES = {
    "Sin": unary(any_number),
    "Cos": unary(any_number),
    "Tan": unary(between(-1.2, 1.2)),
    "Asin": unary(inside),
    "Acos": unary(inside),
    "Atan": unary(any_number),
    "Atan2": binary(away(0.0, gap=0.3)),
    "Hypot": binary(away(0.0, gap=0.3)),
    "Sinh": unary(any_number),
    "Cosh": unary(any_number),
    "Asinh": unary(any_number),
    "Acosh": unary(between(1.2, 3.0)),
    "Atanh": unary(inside),
}
