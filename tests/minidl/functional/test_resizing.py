"""Padding and interpolation against NumPy, against torch, and by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor

NUMPY = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(NUMPY)), st.lists(st.integers(0, 4), min_size=4, max_size=4),
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_pad_is_numpys(mode, numbers, shape, one_axis, fitting):
    if fitting and mode == "reflect":
        numbers = [n % size for n, size in zip(numbers, (shape[3], shape[3], shape[2], shape[2]))]
    x = np.random.default_rng(0).standard_normal(shape)
    pairs = [(0, 0), (numbers[2], numbers[3]), (numbers[0], numbers[1])]
    if one_axis:
        x, numbers, pairs = x[0:1].reshape(-1, *shape[2:]), numbers[:2], [(0, 0), pairs[2]]
    limits = {"reflect": -1, "circular": 0}
    if mode in limits:
        wrong = any(max(pair) > n + limits[mode] for pair, n in zip(pairs[::-1], x.shape[::-1]))
        if wrong:
            with pytest.raises(ValueError, match=f"mode '{mode}' needs padding"):
                F.pad(Tensor(x), numbers, mode)
            return
    expected = np.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs, NUMPY[mode])
    np.testing.assert_array_equal(F.pad(Tensor(x), numbers, mode).numpy(), expected)


def test_pad_by_hand():
    x = minidl.tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (1, 2), value=9.0).tolist() == [[9, 1, 2, 3, 9, 9]]
    assert F.pad(x, (-1, 1)).tolist() == [[2, 3, 0]]
    assert F.pad(x, (0, 0, 1, 0)).tolist() == [[0, 0, 0], [1, 2, 3]]
    assert F.pad(x, (2, 2), "reflect").tolist() == [[3, 2, 1, 2, 3, 2, 1]]
    assert F.pad(x, (1, 4), "replicate").tolist() == [[1, 1, 2, 3, 3, 3, 3, 3]]
    assert F.pad(x, (2, 1), "circular").tolist() == [[2, 3, 1, 2, 3, 1]]
    assert F.pad(x, (-1, 2), "circular").tolist() == [[2, 3, 2, 3]]  # cropped first
    assert F.pad(minidl.tensor([[1, 2]]), (1, 1)).tolist() == [[0, 1, 2, 0]]
    assert F.pad(minidl.tensor([True]), (0, 1)).tolist() == [True, False]
    assert F.pad(minidl.tensor([[1, 2]]), (1, 0), "circular").tolist() == [[2, 1, 2]]


def test_pad_gradients_are_torchs(rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, 5, 6))
    for mode in NUMPY:
        for numbers in ((1, 2), (2, 0, 1, 3), (-1, 2, 0, -2)):
            if mode != "constant" and len(numbers) == 2:
                continue
            ours, theirs = Tensor(x.copy(), True), torch.tensor(x, requires_grad=True)
            out = F.pad(ours, numbers, mode)
            known = torch.nn.functional.pad(theirs, numbers, mode)
            np.testing.assert_array_equal(out.detach().numpy(), known.detach().numpy())
            (out**3).sum().backward()
            (known**3).sum().backward()
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-12)


def test_interpolate_by_hand():
    x = minidl.tensor([[[0.0, 4.0]]])
    assert F.interpolate(x, 4).tolist() == [[[0, 0, 4, 4]]]
    assert F.interpolate(x, 4, mode="linear").tolist() == [[[0, 1, 3, 4]]]
    assert F.interpolate(x, 5, mode="linear", align_corners=True).tolist() == [[[0, 1, 2, 3, 4]]]
    assert F.interpolate(x, 1, mode="area").tolist() == [[[2.0]]]
    assert F.interpolate(x, 3, mode="nearest").tolist() == [[[0, 0, 4]]]
    assert F.interpolate(x, 3, mode="nearest-exact").tolist() == [[[0, 4, 4]]]
    with_inf = minidl.tensor([[[np.inf, 1.0, 2.0]]])
    assert F.interpolate(with_inf, 6).tolist() == [[[np.inf, np.inf, 1, 1, 2, 2]]]


MODES = {
    1: ("nearest", "nearest-exact", "area", "linear"),
    2: ("nearest", "nearest-exact", "area", "bilinear", "bicubic"),
    3: ("nearest", "nearest-exact", "area", "trilinear"),
}


@pytest.mark.filterwarnings("ignore:The default behavior")
@pytest.mark.parametrize("dims", MODES)
def test_interpolate_is_torchs(dims, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 2, *(5, 4, 3)[:dims]))
    sizes = [{"size": (7, 3, 4)[:dims]}, {"scale_factor": 1.7}, {"scale_factor": (0.6,) * dims}]
    sizes += [{"scale_factor": 1.3, "recompute_scale_factor": True}, {"size": 1}]
    for mode, size in itertools.product(MODES[dims], sizes):
        smooth = "linear" in mode or "cubic" in mode
        for align in (None, True, False) if smooth else (None,):
            for antialias in (False, True) if mode in ("bilinear", "bicubic") else (False,):
                given = {"mode": mode, "align_corners": align, "antialias": antialias, **size}
                ours, theirs = Tensor(x.copy(), True), torch.tensor(x, requires_grad=True)
                out = F.interpolate(ours, **given)
                known = torch.nn.functional.interpolate(theirs, **given)
                name = f"{given}"
                np.testing.assert_allclose(
                    out.detach().numpy(), known.detach().numpy(), rtol=1e-6, atol=1e-7, err_msg=name
                )
                (out * out).sum().backward()
                (known * known).sum().backward()
                np.testing.assert_allclose(
                    ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6, atol=1e-6, err_msg=name
                )


def test_pixels_and_channels():
    x = minidl.arange(8).reshape(1, 4, 1, 2)
    assert F.pixel_shuffle(x, 2).tolist() == [[[[0, 2, 1, 3], [4, 6, 5, 7]]]]
    assert F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).tolist() == x.tolist()
    assert F.channel_shuffle(x, 2)[0, :, 0, 0].tolist() == [0, 4, 2, 6]


def test_errors():
    x = minidl.zeros(1, 2, 4, 4)
    for error, text, function, args in (
        (NotImplementedError, "mode must be one of", F.pad, (x, (1, 1), "mirror")),
        (ValueError, "two numbers an axis", F.pad, (x, (1, 1, 1))),
        (ValueError, "crops more than there is", F.pad, (x, (-3, -3))),
        (ValueError, "takes no value", F.pad, (x, (1, 1, 1, 1), "reflect", 2.0)),
        (NotImplementedError, "pads 1 to 3 last axes", F.pad, (x, (1, 1), "reflect")),
        (ValueError, "give either size or scale_factor", F.interpolate, (x,)),
        (ValueError, "give either size or scale_factor", F.interpolate, (x, 2, 2)),
        (ValueError, "does not fit input", F.interpolate, (x, 2, None, "linear")),
        (ValueError, "align_corners has no meaning", F.interpolate, (x, 2, None, "area", True)),
        (ValueError, "size must be one number", F.interpolate, (x, (2, 2, 2))),
        (ValueError, "sizes must be 1 or more", F.interpolate, (x, None, 0.1)),
        (ValueError, "antialias is for", F.interpolate, (x, 2, None, "area", None, None, True)),
        (TypeError, "floating point", F.interpolate, (x.long(), 2, None, "bilinear")),
        (ValueError, "pixel_shuffle: input must be", F.pixel_shuffle, (x, 2)),
        (ValueError, "pixel_unshuffle: input must be", F.pixel_unshuffle, (x, 3)),
        (ValueError, "channel_shuffle: input must be", F.channel_shuffle, (x, 3)),
    ):
        with pytest.raises(error, match=text):
            function(*args)
