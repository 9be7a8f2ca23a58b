"""Convolutions by Winograd's minimal filtering: right, exact enough, only where it pays."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl.nn.functional as F
from minidl import Tensor, kernels
from minidl.kernels import WINOGRAD_SIZES
from minidl.ops import _conv, _winograd

ERRORS = 7  # times the direct product's, in the mean square; 2 to 5 were measured


def plain(x, weight, step, padding):
    """The sum over taps, in the arrays' precision; x (B, C, H, W), weight (O, C, KH, KW)."""
    wide = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    seen = np.lib.stride_tricks.sliding_window_view(wide, weight.shape[2:], axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", seen[:, :, ::step, ::step], weight, optimize=True)


def quickest(monkeypatch):
    """Tiles are quicker than all else."""
    monkeypatch.setattr(_winograd, "DIRECT", 1e9)


sizes = st.fixed_dictionaries({
    "images": st.integers(1, 5), "channels": st.integers(1, 40), "outputs": st.integers(1, 40),
    "axes": st.tuples(st.integers(6, 19), st.integers(6, 35)),
    "kernel": st.sampled_from([(1, 2), (1, 3), (1, 5), (2, 3), (2, 4), (2, 5), (2, 6)]),
    "padding": st.tuples(st.integers(0, 2), st.integers(0, 2)),
    "tiles": st.sampled_from(WINOGRAD_SIZES),
})  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(sizes, st.integers(0, 2**32 - 1))
def test_they_are_convolutions_and_their_transposes(g, seed):
    rng = np.random.default_rng(seed)
    (step, kernel), padding = g["kernel"], g["padding"]
    taps = -(-kernel // step)
    assume(g["tiles"][0] + 1 - g["tiles"][1] == taps)
    x = rng.standard_normal((g["images"], g["channels"], *g["axes"]))
    weight = rng.standard_normal((kernel, g["outputs"], kernel, g["channels"]))
    weight = weight.transpose(1, 3, 2, 0)
    bias = rng.standard_normal(g["outputs"])
    geometry = (step, step, *padding, 1, 1)
    expected = plain(x, weight, step, padding)
    out = np.full(expected.shape, np.nan)
    with pytest.MonkeyPatch.context() as monkeypatch:
        quickest(monkeypatch)
        monkeypatch.setattr(kernels, "WINOGRAD_SIZES", [g["tiles"]])
        how = _winograd.plan(x.shape, weight.shape, out.shape[2:], geometry, 1)
        back = _winograd.plan_spread(out.shape, weight.shape, x.shape[2:], geometry, 1)
    _winograd.convolve(x, weight, bias, how, out)
    np.testing.assert_allclose(out, expected + bias[:, None, None], rtol=1e-9, atol=1e-9)
    # both gradients are linear in dout: <dout, conv(direction)> = <gradient, direction>
    dout, direction = rng.standard_normal(out.shape), rng.standard_normal(weight.shape)
    dweight = np.full(weight.shape, np.nan)
    _winograd.gradient(x, dout, how, dweight)
    moved = (dout * plain(x, direction, step, padding)).sum()
    np.testing.assert_allclose((dweight * direction).sum(), moved, rtol=1e-8, atol=1e-8)
    if step == 2:
        dx, direction = np.full(x.shape, np.nan), rng.standard_normal(x.shape)
        _winograd.convolve(dout, weight.swapaxes(0, 1)[:, :, ::-1, ::-1], None, back, dx)
        moved = (dout * plain(direction, weight, step, padding)).sum()
        np.testing.assert_allclose((dx * direction).sum(), moved, rtol=1e-8, atol=1e-8)


def three(x, weight, bias, dout, step, padding):
    """out, dx, dweight of a conv2d."""
    arrays = [Tensor(a, True) for a in (x, weight, bias)]
    out = F.conv2d(*arrays, stride=step, padding=padding)
    out.backward(Tensor(dout))
    return [out.detach().numpy(), arrays[0].grad.numpy(), arrays[1].grad.numpy()]


@pytest.mark.parametrize(("step", "kernel", "tiles"), [
    (1, 3, (6, 4)), (1, 5, (6, 2)), (2, 4, (5, 4)), (2, 4, (4, 3)), (2, 5, (6, 4)),
])  # fmt: skip
def test_float32_errors_beside_the_direct_product(step, kernel, tiles, rng, monkeypatch):
    padding = (kernel - 1) // 2
    size = tuple((n + 2 * padding - kernel) // step + 1 for n in (15, 14))
    shapes = (8, 48, 15, 14), (70, 48, kernel, kernel), (70,), (8, 70, *size)
    single = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    geometry = (step, step, padding, padding, 1, 1)
    monkeypatch.setattr(kernels, "WINOGRAD_SIZES", [tiles])
    exact = three(*[a.astype(np.float64) for a in single], step, padding)
    with monkeypatch.context() as patch:
        quickest(patch)
        assert _winograd.plan(shapes[0], shapes[1], size, geometry, 1).sizes == tiles
        tiled = three(*single, step, padding)
    monkeypatch.setattr(kernels, "WINOGRAD_SIZES", [])
    direct = three(*single, step, padding)
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

    def tiles(image=image, weight=(64, 64, 3, 3), size=size, geometry=plain_, groups=1):
        how = _winograd.plan(image, weight, size, geometry, groups)
        return how and how.sizes

    assert tiles() == (6, 4)
    assert tiles(weight=(64, 64, 5, 5), geometry=(1, 1, 2, 2, 1, 1)) == (6, 2)
    assert tiles(image=(32, 1, 14, 14), weight=(64, 1, 3, 3)) is None  # one channel
    assert tiles(image=(1, 64, 3, 3), size=(3, 3)) is None  # a tile
    assert tiles(weight=(64, 64, 3, 1)) is None
    assert tiles(weight=(64, 64, 1, 1)) is None
    assert tiles(geometry=(1, 1, 2, 2, 2, 2)) is None
    assert tiles(weight=(64, 32, 3, 3), groups=2) is None
    # the direct gradient in the weight computes a whole panel of outputs, however few there are
    few = (16, 3, 33, 33), (8, 3, 3, 3), (33, 33), plain_, 1
    assert _winograd.plan(*few) is None
    assert _winograd.plan(*few, "weight").sizes == (6, 4)
    # with step 2, of the tiles those that fit
    twice = (2, 2, 1, 1, 1, 1)
    for side, chosen in ((6, (4, 3)), (7, (5, 4)), (8, (5, 4)), (5, (4, 3))):
        assert tiles(weight=(64, 64, 4, 4), size=(side, side), geometry=twice) == chosen
    assert tiles(weight=(64, 64, 4, 4), size=(7, 14), geometry=(2, 1, 1, 1, 1, 1)) is None
    assert tiles(weight=(64, 64, 6, 6), size=(4, 4), geometry=(3, 3, 1, 1, 1, 1)) is None
    assert _winograd.plan_spread((32, 64, 7, 7), (64, 64, 4, 4), size, twice, 1).sizes == (5, 4)
    assert _winograd.plan_spread((32, 64, 14, 14), (64, 64, 3, 3), size, plain_, 1) is None


def test_double_precision_stays_direct(rng):
    x = rng.standard_normal((8, 48, 14, 14))
    assert not _conv._suits(x)
    assert _conv._suits(x.astype(np.float32))
