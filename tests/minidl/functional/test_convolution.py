"""Convolutions and windows against loops written from the definitions, and against torch."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor
from minidl.ops import _blocks, _conv, _conv_steps, _math
from minidl.ops.conv import channel_sums


def naive_conv(x, weight, bias, stride, padding, dilation, groups):
    """out[b, o, r] = bias[o] + sum over c, k of weight * x, one number at a time; 2-d."""
    images, _, *axes = x.shape
    outputs, thin, *kernel = weight.shape
    size = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(axes, kernel, stride, padding, dilation)
    ]
    out = np.zeros((images, outputs, *size))
    for b, o, r, t in itertools.product(range(images), range(outputs), *map(range, size)):
        total = bias[o]
        first = o // (outputs // groups) * thin
        for c, i, j in itertools.product(range(thin), *map(range, kernel)):
            h = r * stride[0] + i * dilation[0] - padding[0]
            w = t * stride[1] + j * dilation[1] - padding[1]
            if 0 <= h < axes[0] and 0 <= w < axes[1]:
                total += weight[o, c, i, j] * x[b, first + c, h, w]
        out[b, o, r, t] = total
    return out


def naive_transpose(x, weight, bias, stride, padding, extra, dilation, groups):
    """Each input throws the kernel, times its value, onto the output; 2-d."""
    images, channels, *axes = x.shape
    _, thin, *kernel = weight.shape
    size = [
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, k, s, p, d, e in zip(axes, kernel, stride, padding, dilation, extra)
    ]
    out = np.zeros((images, thin * groups, *size)) + bias[:, None, None]
    for b, c, r, t in itertools.product(range(images), range(channels), *map(range, axes)):
        first = c // (channels // groups) * thin
        for o, i, j in itertools.product(range(thin), *map(range, kernel)):
            h = r * stride[0] + i * dilation[0] - padding[0]
            w = t * stride[1] + j * dilation[1] - padding[1]
            if 0 <= h < size[0] and 0 <= w < size[1]:
                out[b, first + o, h, w] += x[b, c, r, t] * weight[c, o, i, j]
    return out


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
geometries = st.fixed_dictionaries({
    "images": st.integers(0, 3), "groups": st.integers(1, 3), "inputs": st.integers(1, 2),
    "outputs": st.integers(1, 2), "axes": st.tuples(st.integers(1, 7), st.integers(1, 7)),
    "kernel": pairs, "stride": pairs, "dilation": pairs,
    "padding": st.tuples(st.integers(0, 3), st.integers(0, 3)),
    "block": st.sampled_from([1, 9, 512]),  # positions: also many blocks, of rows, and of images
    "phases": st.sampled_from([0, 9]), "compiled": st.booleans(),
})  # fmt: skip


@contextlib.contextmanager
def ways(g):
    """Other sizes of blocks, transposed convolutions by columns, kernels for small arrays too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_conv, "POSITIONS", g["block"])
        patch.setattr(_blocks, "BLOCK", g["block"])
        patch.setattr(_conv, "PHASES", g["phases"])
        if g["compiled"]:
            patch.setattr(_math, "suited", lambda kernel, array: kernel)
        yield


@settings(max_examples=120, deadline=None)
@given(geometries, st.integers(0, 2**32 - 1))
def test_conv2d_is_its_definition(g, seed):
    rng = np.random.default_rng(seed)
    groups, rest = g["groups"], {k: g[k] for k in ("stride", "padding", "dilation")}
    reach = [d * (k - 1) + 1 for k, d in zip(g["kernel"], g["dilation"])]
    if any(r > n + 2 * p for r, n, p in zip(reach, g["axes"], g["padding"])):
        return
    x = rng.standard_normal((g["images"], groups * g["inputs"], *g["axes"]))
    weight = rng.standard_normal((groups * g["outputs"], g["inputs"], *g["kernel"]))
    bias = rng.standard_normal(len(weight))
    with ways(g):
        args = [Tensor(a.copy(), True) for a in (x, weight, bias)]
        out = F.conv2d(*args, groups=groups, **rest)
        dout = rng.standard_normal(out.shape)
        out.backward(Tensor(dout))
    expected = naive_conv(x, weight, bias, groups=groups, **rest)
    np.testing.assert_allclose(out.detach().numpy(), expected, rtol=1e-10, atol=1e-10)
    # the gradient in each argument is linear in dout: <dout, conv(direction)> = <gradient, .>
    for i, tensor in enumerate(args):
        arrays = [x, weight, np.zeros_like(bias)]
        arrays[i] = rng.standard_normal(arrays[i].shape)
        if i == 2:
            arrays[0] = np.zeros_like(x)
        moved = naive_conv(*arrays, groups=groups, **rest)
        np.testing.assert_allclose(
            (tensor.grad.numpy() * arrays[i]).sum(), (dout * moved).sum(), rtol=1e-8, atol=1e-8
        )


@settings(max_examples=80, deadline=None)
@given(geometries, st.integers(0, 2**32 - 1))
def test_conv_transpose2d_is_its_definition(g, seed):
    rng = np.random.default_rng(seed)
    groups = g["groups"]
    extra = tuple(max(s, d) - 1 for s, d in zip(g["stride"], g["dilation"]))
    rest = {k: g[k] for k in ("stride", "padding", "dilation")}
    x = rng.standard_normal((g["images"], groups * g["inputs"], *g["axes"]))
    weight = rng.standard_normal((groups * g["inputs"], g["outputs"], *g["kernel"]))
    bias = rng.standard_normal(groups * g["outputs"])
    try:
        expected = naive_transpose(x, weight, bias, extra=extra, groups=groups, **rest)
    except ValueError:  # a negative size
        return
    if 0 in expected.shape[2:]:
        return
    with ways(g):
        args = [Tensor(a) for a in (x, weight, bias)]
        out = F.conv_transpose2d(*args, output_padding=extra, groups=groups, **rest)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_conv1d_is_conv2d_of_height_one(rng):
    x, weight, bias = (rng.standard_normal(s) for s in ((2, 4, 9), (6, 2, 3), (6,)))
    out = F.conv1d(*map(Tensor, (x, weight, bias)), 2, 1, 2, 2).numpy()
    wide = naive_conv(x[:, :, None], weight[:, :, None], bias, (1, 2), (0, 1), (1, 2), 2)
    np.testing.assert_allclose(out, wide[:, :, 0], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@example(3, 40, 20, 12, 3, 2, 1, 1, True, 0.05, 0)  # few numbers, steps, and padding
@given(
    st.integers(1, 4), st.integers(1, 30), st.integers(1, 20), st.integers(1, 12),
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2), st.booleans(),
    st.sampled_from([0.0, 0.05, 0.2, 1.0]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_sequences_give_the_same_by_the_general_way_and_however_they_lie(
    images, time, channels, outputs, taps, stride, padding, dilation, compiled, density, seed
):
    rng = np.random.default_rng(seed)
    if dilation * (taps - 1) + 1 > time + 2 * padding:
        return
    rows, weight = rng.standard_normal((images, time, channels)), (outputs, channels, taps)
    weight, bias, found = rng.standard_normal(weight), rng.standard_normal(outputs), []
    for last, general in ((True, False), (False, False), (False, True)):
        x = Tensor(rows.copy() if last else rows.swapaxes(1, 2).copy(), True)
        w, start = Tensor(weight.copy(), True), Tensor(bias.copy(), True)
        with pytest.MonkeyPatch.context() as patch:
            if compiled:
                patch.setattr(_math, "suited", lambda kernel, array: kernel)
                patch.setattr(_math, "large", lambda array: True)
            if general:
                patch.setattr(_conv_steps, "suits", lambda *args: False)
            given_x = x.transpose(1, 2) if last else x
            out = F.conv1d(given_x, w, start, stride, padding, dilation)
            if last:
                dout = rng.standard_normal(out.shape) * (rng.random(out.shape) < density)
            out.backward(Tensor(dout))
        dx = x.grad.numpy()
        dx = dx.swapaxes(1, 2) if last else dx
        found.append((out.detach().numpy(), dx, w.grad.numpy(), start.grad.numpy()))
    for ours, turned, expected in zip(*found):
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(turned, expected, rtol=1e-10, atol=1e-10)


def test_by_hand():
    x = minidl.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    weight = minidl.tensor([[[1.0, 0.0, -1.0]]])
    assert F.conv1d(x, weight).tolist() == [[[-2.0, -2.0]]]
    assert F.conv1d(x, weight, padding="same").tolist() == [[[-2.0, -2.0, -2.0, 3.0]]]
    assert F.conv1d(x, weight, padding="valid", stride=2).tolist() == [[[-2.0]]]
    pair = minidl.tensor([[[1.0, 10.0]]])  # an even kernel: the odd one of the padding comes after
    assert F.conv1d(x, pair, padding="same").tolist() == [[[21.0, 32.0, 43.0, 4.0]]]
    assert F.conv_transpose1d(x, pair, stride=2).tolist() == [[[1, 10, 2, 20, 3, 30, 4, 40]]]
    assert F.conv1d(x[0], weight).shape == (1, 2)
    assert F.conv1d(minidl.zeros(0, 1, 4), weight).shape == (0, 1, 2)


@pytest.mark.filterwarnings("ignore:Using padding=.same.")
def test_same_is_torchs(rng):
    torch = pytest.importorskip("torch")
    for kernel, dilation, groups in itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 2)):
        x, weight = (
            rng.standard_normal((2, 4, 9, 8)),
            rng.standard_normal((6, 4 // groups, kernel, 3)),
        )
        ours = [Tensor(a.copy(), True) for a in (x, weight)]
        theirs = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
        settings_ = {"padding": "same", "dilation": dilation, "groups": groups}
        out, known = F.conv2d(*ours, **settings_), torch.nn.functional.conv2d(*theirs, **settings_)
        np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), atol=1e-12)
        (out * out).sum().backward()
        (known * known).sum().backward()
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-9)


def test_second_derivatives_are_torchs(rng):
    torch = pytest.importorskip("torch")
    x, weight = rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((4, 2, 3, 2))

    def penalty(lib, functional, x, weight):
        out = functional.conv2d(x, weight, stride=2, padding=1, groups=2).tanh()
        (dx,) = lib.autograd.grad((out * out).sum(), [x], create_graph=True)
        return (dx * dx).sum()

    ours = [Tensor(a.copy(), True) for a in (x, weight)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
    penalty(minidl, F, *ours).backward()
    penalty(torch, torch.nn.functional, *theirs).backward()
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(geometries, st.integers(0, 2**32 - 1))
def test_unfold_gives_the_windows_and_fold_is_its_transpose(g, seed):
    rng = np.random.default_rng(seed)
    rest = {k: g[k] for k in ("stride", "padding", "dilation")}
    reach = [d * (k - 1) + 1 for k, d in zip(g["kernel"], g["dilation"])]
    if any(r > n + 2 * p for r, n, p in zip(reach, g["axes"], g["padding"])):
        return
    x = rng.standard_normal((g["images"], g["inputs"], *g["axes"]))
    cols = F.unfold(Tensor(x), g["kernel"], **rest).numpy()
    taps = np.eye(int(np.prod(g["kernel"]))).reshape(-1, 1, *g["kernel"])  # one window element each
    for c in range(g["inputs"]):
        part = naive_conv(x[:, c : c + 1], taps, np.zeros(len(taps)), groups=1, **rest)
        rows = cols[:, c * len(taps) : (c + 1) * len(taps)]
        np.testing.assert_array_equal(rows, part.reshape(rows.shape))
    y = rng.standard_normal(cols.shape)
    back = F.fold(Tensor(y), g["axes"], g["kernel"], **rest).numpy()
    np.testing.assert_allclose((cols * y).sum(), (x * back).sum(), rtol=1e-9, atol=1e-9)


def test_the_result_does_not_depend_on_the_number_of_threads(rng):
    from minidl import kernels

    before, results = kernels.get_num_threads(), []
    for channels, groups in ((16, 1), (16, 16)):
        x = rng.standard_normal((8, channels, 24, 24)).astype(np.float32)
        weight = rng.standard_normal((16, channels // groups, 3, 3)).astype(np.float32)
        for threads in (1, 2):
            kernels.set_num_threads(threads)
            args = [Tensor(x, True), Tensor(weight, True)]
            out = F.conv2d(*args, padding=1, groups=groups)
            out.sum().backward()
            results.append([out.detach().numpy(), *[a.grad.numpy() for a in args]])
    kernels.set_num_threads(before)
    for one, two in (results[:2], results[2:]):
        for a, b in zip(one, two):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def refuse(error, text, function, *args, **kwargs):
    with pytest.raises(error, match=text):
        function(*args, **kwargs)


def test_errors():
    x, weight = minidl.zeros(2, 4, 5, 5), minidl.zeros(6, 4, 3, 3)
    refuse(ValueError, r"conv2d: input must be \(B, C, H, W\) or", F.conv2d, x[0, 0], weight)
    refuse(ValueError, "conv2d: weight must have 4 axes", F.conv2d, x, weight[0])
    refuse(ValueError, "4 channels in 2 groups needs weight", F.conv2d, x, weight, groups=2)
    refuse(ValueError, "3 channels in 1 groups needs weight", F.conv2d, x[:, :3], weight)
    refuse(ValueError, "groups must be", F.conv2d, x, weight, groups=0)
    refuse(ValueError, "larger than the padded input", F.conv2d, x, weight, dilation=3)
    refuse(ValueError, "stride must be", F.conv2d, x, weight, stride=0)
    refuse(ValueError, "padding must be", F.conv2d, x, weight, padding=(1, 2, 3))
    refuse(ValueError, "padding must be", F.conv2d, x, weight, padding="full")
    refuse(ValueError, 'padding="same" needs stride 1', F.conv2d, x, weight, None, 2, "same")
    refuse(ValueError, r"bias must be \(6,\)", F.conv2d, x, weight, minidl.zeros(4))
    refuse(TypeError, "float32 and weight float64 differ", F.conv2d, x, weight.double())
    refuse(TypeError, "floating point is needed", F.conv2d, x.long(), weight.long())
    refuse(ValueError, "needs weight", F.conv_transpose2d, x, weight)
    back = minidl.zeros(4, 6, 3, 3)
    refuse(ValueError, "output_padding", F.conv_transpose2d, x, back, output_padding=1)
    refuse(ValueError, "output would have", F.conv_transpose2d, x, back, padding=5)
    refuse(ValueError, "fold: output_size", F.fold, minidl.zeros(1, 8, 5), (4, 4), 2)
    refuse(ValueError, "larger than the padded input", F.unfold, x, 6)


@pytest.mark.parametrize("shape", [(3, 7, 900), (2, 40, 30, 31), (5, 3, 2)])
def test_gradient_of_bias_in_either_layout(rng, shape):
    dout = rng.standard_normal(shape).astype(np.float32)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(dout, 1, -1)), -1, 1)  # channels last
    expected = dout.sum(axis=(0, *range(2, dout.ndim)), dtype=np.float64)
    for array in (dout, last, np.repeat(dout, 2, -1)[..., ::2]):
        np.testing.assert_allclose(channel_sums(array), expected, rtol=1e-4, atol=1e-4)
