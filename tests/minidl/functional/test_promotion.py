"""Dtypes of results: PyTorch's table by hand, and against torch where it is installed."""

import operator

import numpy as np
import pytest

import minidl
from minidl import tensor

DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
OPERATORS = {
    "add": operator.add, "mul": operator.mul, "div": operator.truediv, "pow": operator.pow,
    "lt": operator.lt, "eq": operator.eq, "floor_divide": operator.floordiv,
    "remainder": operator.mod, "and": operator.and_,
}  # fmt: skip
SCALARS = (2, 2.0, True, np.float64(2), np.float32(2), np.int64(2))

# of two tensors with axes; rows and columns in the order of DTYPES, letters as below
TABLE = """
    h f d h h h h h h
    f f d f f f f f f
    d d d d d d d d d
    h f d b s i l s b
    h f d s s i l s s
    h f d i i i l i i
    h f d l l l l l l
    h f d s s i l B B
    h f d b s i l B ?
"""
LETTERS = dict(zip("hfdbsilB?", DTYPES))


def values(dtype, shape=(3,)):
    numbers = [True, False, True] if dtype == "bool" else [2, 1, 3]
    return np.array(numbers[: 3 if shape else 1], dtype).reshape(shape)


@pytest.mark.parametrize("row", range(len(DTYPES)))
def test_two_tensors(row):
    letters = TABLE.split("\n")[1 + row].split()
    for other, letter in zip(DTYPES, letters):
        x, y = tensor(values(DTYPES[row])), tensor(values(other))
        assert (x + y).dtype == LETTERS[letter], (DTYPES[row], other)
        assert (x * y).dtype == LETTERS[letter]
        quotient = x / tensor(np.ones(3, other))
        assert quotient.dtype == (LETTERS[letter] if letter in "hfd" else "float32")
        assert (x < y).dtype == (x == y).dtype == bool


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (values("float32"), values("float64", ()), "float32"),  # 0-d yields to axes
        (values("int8"), values("int64", ()), "int8"),
        (values("int64"), values("float64", ()), "float64"),  # unless its kind is higher
        (values("bool"), values("uint8", ()), "uint8"),
        (values("float32", ()), values("float64", ()), "float64"),
        (values("float16"), 2.5, "float16"),
        (values("int16"), 2, "int16"),
        (values("int16"), 2.5, "float32"),  # a Python float has the default dtype
        (values("bool"), 2, "int64"),
        (values("bool"), True, "bool"),
        (values("float32", ()), np.float64(2.5), "float32"),  # NumPy's scalars as Python's
        (values("int64"), np.float64(2.5), "float32"),
        (values("int8"), np.int64(2), "int8"),
    ],
)
def test_lower_kinds_yield(x, y, expected):
    y = tensor(y) if isinstance(y, np.ndarray) else y
    assert (tensor(x) + y).dtype == expected
    assert (y + tensor(x)).dtype == expected
    assert (tensor(x) * y).dtype == expected


def test_the_default_dtype_decides_for_integers():
    minidl.set_default_dtype(minidl.float64)
    try:
        assert (tensor(values("int64")) / 2).dtype == "float64"
        assert tensor(values("int64")).sqrt().dtype == "float64"
    finally:
        minidl.set_default_dtype(minidl.float32)


def test_large_integers_wrap_around():
    x = tensor(np.array([1, 2], np.int8))
    np.testing.assert_array_equal((x + 300).array, np.array([45, 46], np.int8))
    np.testing.assert_array_equal((tensor(np.array([5], np.uint8)) + -1).array, [4])


def test_comparisons_are_in_the_common_dtype():
    assert (tensor([0.1]) == 0.1).item()  # both float32
    assert not (tensor(np.array([0.1], np.float32)) == tensor(np.array([0.1]))).item()
    assert (tensor([2**24 + 1]) == float(2**24)).item()  # float32 cannot tell them apart
    assert (tensor(np.array([255], np.uint8)) != -1).item()


def test_every_pair_is_torchs():
    torch = pytest.importorskip("torch")
    operands = [
        (torch.tensor(values(d, s)), tensor(values(d, s))) for d in DTYPES for s in ((3,), ())
    ]
    operands += [(s, s) for s in SCALARS]
    for name, function in OPERATORS.items():
        for x, a in operands:
            for y, b in operands:
                if not isinstance(x, torch.Tensor) and not isinstance(y, torch.Tensor):
                    continue
                where = f"{name} of {getattr(x, 'dtype', x)} and {getattr(y, 'dtype', y)}"
                with np.errstate(all="ignore"):
                    try:
                        want = function(x, y)
                    except (RuntimeError, NotImplementedError, TypeError):
                        with pytest.raises((TypeError, ValueError, ZeroDivisionError)):
                            function(a, b)
                        continue
                    if name == "pow" and want.dtype == torch.bool:
                        continue  # torch takes a bool tensor to the power True, and to no other
                    got = function(a, b)
                assert str(want.dtype) == f"torch.{got.dtype}", where
                np.testing.assert_allclose(got.array, want.numpy(), rtol=1e-3, err_msg=where)
