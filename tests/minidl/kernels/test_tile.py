"""Products with packed panels against NumPy's, at the edges of tiles and panels."""

import numpy as np
import pytest

from minidl import kernels
from minidl.kernels import _tile
from minidl.kernels._jit import kernel
from minidl.kernels._tile import panel_affine, panel_product


def multiply_ref(a, packed, add, c):
    product = a @ _tile.unpacked(packed, c.shape[1])
    c[:] = c + product if add else product


@kernel(reference=multiply_ref)
def multiply(a, packed, add, c):
    panel_product(a, packed, add, c)


def affine_ref(a, packed, add, bias, floor, c):
    product = a @ _tile.unpacked(packed, c.shape[1])
    c[:] = np.maximum(product + (c if add else bias[: c.shape[1]]), floor)


@kernel(reference=affine_ref)
def affine(a, packed, add, bias, floor, c):
    panel_affine(a, packed, add, bias, c.dtype.type(floor), c)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bias_floor_and_narrow_panels(dtype, rng):
    for rows, inner, columns in [
        (3, 0, 5), (1, 1, 1), (7, 5, 8), (8, 9, 16), (9, 4, 17), (15, 6, 40), (16, 3, 100),
    ]:  # fmt: skip
        a, w = (rng.standard_normal(s).astype(dtype) for s in ((rows, inner), (inner, columns)))
        packed = np.empty(kernels.panels_shape(inner, columns, dtype), dtype)
        kernels.pack_panels(w, False, packed)
        bias = np.full(packed.shape[0] * packed.shape[2], np.nan, dtype)
        bias[:columns] = rng.standard_normal(columns)
        room = np.full((rows + 1, columns + 2), np.nan, dtype)  # neighbours stay untouched
        c = room[:-1, 1:-1]
        affine(a, packed, False, bias, 0.0, c)
        np.testing.assert_allclose(c, np.maximum(a @ w + bias[:columns], 0), atol=1e-5)
        before = c.copy()
        affine(a, packed, True, bias, -np.inf, c)
        if inner:
            np.testing.assert_allclose(c, before + a @ w, atol=1e-5)
        assert np.isnan(room[:, [0, -1]]).all()
        assert np.isnan(room[-1]).all()
        bias[0] = np.nan
        affine(a, packed, False, bias, 0.0, c)
        assert np.isnan(c[:, 0]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_height_and_width_of_a_tile(dtype, transposed, rng):
    for rows, inner, columns in [(n, 5, 32) for n in range(18)] + [
        (1, 1, 1), (9, 0, 3), (8, 37, 31), (13, 40, 45), (20, 3, 65),
    ]:  # fmt: skip
        a, w = (rng.standard_normal(s).astype(dtype) for s in ((rows, inner), (inner, columns)))
        packed = np.full(kernels.panels_shape(inner, columns, dtype), np.nan, dtype)
        kernels.pack_panels(w, False, packed)
        given = np.ascontiguousarray(a.T).T if transposed else a
        room = np.full((rows, columns + 2), np.nan, dtype)  # c: a view, neighbours stay untouched
        c = room[:, 1:-1]
        multiply(given, packed, False, c)
        np.testing.assert_allclose(c, a @ w, rtol=1e-5, atol=1e-5)
        multiply(given, packed, True, c)
        np.testing.assert_allclose(c, 2 * (a @ w), rtol=1e-5, atol=1e-5)
        assert np.isnan(room[:, [0, -1]]).all()


def test_a_row_does_not_depend_on_those_beside_it(rng):
    a = rng.standard_normal((30, 50)).astype(np.float32)
    w = rng.standard_normal((50, 40)).astype(np.float32)
    packed = np.empty(kernels.panels_shape(50, 40, np.float32), np.float32)
    kernels.pack_panels(w, False, packed)
    whole, alone = np.empty((30, 40), np.float32), np.empty((1, 40), np.float32)
    multiply(a, packed, False, whole)
    for n in range(30):
        multiply(a[n : n + 1], packed, False, alone)
        if kernels.ENABLED:
            np.testing.assert_array_equal(alone[0], whole[n])
