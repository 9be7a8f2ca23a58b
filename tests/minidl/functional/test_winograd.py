"""Convolutions by Winograd's minimal filtering: right, exact enough, only where it pays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl.nn.functional as F
from minidl import Tensor
from minidl.ops import _conv, _winograd

ERRORS = 7  # times the direct product's, in the mean square; 2 to 5 were measured


def plain(x, weight, padding):
    """The sum over taps, in the arrays' precision; x (B, C, H, W), weight (O, C, r, r)."""
    wide = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    seen = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", seen, weight, optimize=True)


sizes = st.fixed_dictionaries({
    "images": st.integers(1, 5), "channels": st.integers(1, 40), "outputs": st.integers(1, 40),
    "axes": st.tuples(st.integers(5, 19), st.integers(5, 35)), "side": st.sampled_from([2, 4]),
    "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
})  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 2**32 - 1))
def test_it_is_a_convolution(g, seed):
    rng = np.random.default_rng(seed)
    side, padding, taps = g["side"], g["padding"], 7 - g["side"]
    x = rng.standard_normal((g["images"], g["channels"], *g["axes"]))
    weight = rng.standard_normal((taps, g["outputs"], taps, g["channels"])).transpose(1, 3, 2, 0)
    bias = rng.standard_normal(g["outputs"])
    expected = plain(x, weight, padding)
    out = np.full(expected.shape, np.nan)
    _winograd.convolve(x, weight, bias, side, padding, out)
    np.testing.assert_allclose(out, expected + bias[:, None, None], rtol=1e-9, atol=1e-9)
    # the gradient in the weight is linear in dout: <dout, conv(direction)> = <gradient, direction>
    dout, direction = rng.standard_normal(out.shape), rng.standard_normal(weight.shape)
    dweight = np.full(weight.shape, np.nan)
    _winograd.gradient(x, dout, side, padding, dweight)
    moved = (dout * plain(x, direction, padding)).sum()
    np.testing.assert_allclose((dweight * direction).sum(), moved, rtol=1e-8, atol=1e-8)


def three(x, weight, bias, dout, padding):
    """out, dx, dweight of a conv2d."""
    arrays = [Tensor(a, True) for a in (x, weight, bias)]
    out = F.conv2d(*arrays, padding=padding)
    out.backward(Tensor(dout))
    return [out.detach().numpy(), arrays[0].grad.numpy(), arrays[1].grad.numpy()]


@pytest.mark.parametrize("taps", [3, 5])
def test_float32_errors_beside_the_direct_product(taps, rng, monkeypatch):
    shapes = (8, 48, 15, 14), (70, 48, taps, taps), (70,), (8, 70, 15, 14)
    single = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    geometry = (1, 1, taps // 2, taps // 2, 1, 1)
    assert _winograd.tile_side(shapes[0], shapes[1], (15, 14), geometry, 1) == 7 - taps
    exact = three(*[a.astype(np.float64) for a in single], taps // 2)
    tiled = three(*single, taps // 2)
    monkeypatch.setattr(_winograd, "tile_side", lambda *_: 0)
    direct = three(*single, taps // 2)
    for name, right, one, other in zip(("out", "dx", "dweight"), exact, tiled, direct):
        ours, theirs = (np.sqrt(np.square(a - right).mean()) for a in (one, other))
        assert not np.array_equal(one, other), f"{name} was computed directly"
        assert ours <= ERRORS * theirs, f"{name}: {ours} beside {theirs}"


def test_a_gradient_that_does_not_reach_the_edge(rng):
    """Without padding dx is a convolution with a padding of the kernel's size less 1; so is a
    transposed convolution."""
    shapes = (4, 40, 9, 17), (40, 33, 3, 3)
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    out = F.conv_transpose2d(Tensor(x), Tensor(weight)).numpy()
    whole = [Tensor(a.astype(np.float64)) for a in (x, weight)]
    np.testing.assert_allclose(out, F.conv_transpose2d(*whole).numpy(), rtol=1e-4, atol=1e-4)


def test_only_where_it_pays():
    image, size, plain_ = (32, 64, 14, 14), (14, 14), (1, 1, 1, 1, 1, 1)

    def side(image=image, weight=(64, 64, 3, 3), size=size, geometry=plain_, groups=1):
        return _winograd.tile_side(image, weight, size, geometry, groups)

    assert side() == 4
    assert side(weight=(64, 64, 5, 5), geometry=(1, 1, 2, 2, 1, 1)) == 2
    assert side(image=(32, 1, 14, 14), weight=(64, 1, 3, 3)) == 0  # one channel
    assert side(image=(1, 64, 3, 3), size=(3, 3)) == 0  # a tile
    assert side(weight=(64, 64, 3, 1)) == 0
    assert side(geometry=(2, 2, 1, 1, 1, 1), size=(7, 7)) == 0
    assert side(geometry=(1, 1, 2, 2, 2, 2)) == 0
    assert side(weight=(64, 32, 3, 3), groups=2) == 0


def test_double_precision_stays_direct(rng):
    x = rng.standard_normal((8, 48, 14, 14))
    assert _conv._tile_side(x, (64, 48, 3, 3), (14, 14), (1, 1, 1, 1, 1, 1), 1) == 0
    assert _conv._tile_side(x.astype(np.float32), (64, 48, 3, 3), (14, 14), (1,) * 6, 1) == 4
