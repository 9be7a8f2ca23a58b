"""Inputs for the kernels of convolution, pooling and resampling."""

import numpy as np

from minidl.kernels import panels_shape
from minidl.kernels.convolution_few import few_found_ref
from minidl.ops._blocks import blocks_of
from minidl.ops.pool import windows
from minidl.testing.kernels import KernelCase

# (images, channels, axes, kernel, output's axes, (sh, sw, ph, pw, dh, dw))
IMAGES = (
    (0, 2, (3, 3), (2, 2), (2, 2), (1, 1, 0, 0, 1, 1)),
    (1, 1, (1, 1), (1, 1), (1, 1), (1, 1, 0, 0, 1, 1)),
    (2, 3, (5, 7), (3, 3), (5, 7), (1, 1, 1, 1, 1, 1)),  # of the input's size
    (2, 3, (5, 7), (3, 2), (3, 4), (2, 2, 1, 1, 1, 2)),
    (3, 2, (6, 5), (2, 3), (3, 5), (1, 1, -2, 1, 1, 1)),  # the rows from the third on
    (1, 2, (2, 3), (5, 5), (3, 3), (1, 1, 3, 2, 1, 1)),  # some taps never meet the image
    (2, 2, (3, 4), (3, 3), (7, 4), (1, 1, 4, 4, 2, 4)),
    (7, 9, (20, 21), (3, 3), (20, 21), (1, 1, 1, 1, 1, 1)),
)


def normal(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def im2col(rng, dtype):
    for images, channels, axes, kernel, size, geometry in IMAGES:
        x = normal(rng, (images, channels, *axes), dtype)
        cols = np.empty((channels, *kernel, images, *size), dtype)
        yield KernelCase([x, *geometry], outputs=[cols], note=f"{axes} {kernel} {geometry}")


def col2im(rng, dtype):
    for images, channels, axes, kernel, size, geometry in IMAGES:
        cols = normal(rng, (channels, *kernel, images, *size), dtype)
        bias, out = normal(rng, channels, dtype), normal(rng, (images, channels, *axes), dtype)
        note = f"{axes} {kernel} {geometry}"
        yield KernelCase([cols, bias, 1, *geometry], outputs=[out], note=note)
        yield KernelCase([cols, bias, 0, *geometry], [out], note=note)


def _depthwise(rng, dtype):
    for images, channels, axes, kernel, size, geometry in IMAGES:
        for many in (1, 3):
            outputs = channels * many
            x, weight = (images, channels, *axes), (outputs, *kernel)
            y = (images, outputs, *size)
            yield (*[normal(rng, shape, dtype) for shape in (x, weight, y)], geometry)


def depthwise_forward(rng, dtype):
    for x, weight, y, geometry in _depthwise(rng, dtype):
        bias = normal(rng, len(weight), dtype)
        yield KernelCase([x, weight, bias, *geometry], outputs=[y], note=f"{geometry}")


def depthwise_input(rng, dtype):
    for x, weight, y, geometry in _depthwise(rng, dtype):
        bias = normal(rng, x.shape[1], dtype)
        yield KernelCase([y, weight, bias, *geometry], outputs=[x], note=f"{geometry}")


def depthwise_weight(rng, dtype):
    for x, weight, y, geometry in _depthwise(rng, dtype):
        yield KernelCase([x, y, *geometry], outputs=[weight], note=f"{geometry}")


# (images, channels, axes, outputs, kernel, groups, (sh, sw, ph, pw, dh, dw))
CONVOLUTIONS = (
    (0, 2, (3, 3), 3, (2, 2), 1, (1, 1, 0, 0, 1, 1)),
    (1, 1, (1, 1), 1, (1, 1), 1, (1, 1, 0, 0, 1, 1)),
    (3, 5, (7, 9), 9, (3, 3), 1, (1, 1, 1, 1, 1, 1)),
    (5, 40, (5, 4), 35, (3, 2), 1, (2, 1, 1, 0, 1, 2)),  # channels in two turns
    (3, 6, (9, 11), 4, (2, 3), 2, (3, 2, 2, 1, 2, 3)),
    (2, 3, (6, 1), 2, (3, 1), 1, (1, 1, -1, 0, 1, 1)),  # a column, from its second row on
    (2, 2, (4, 4), 3, (5, 5), 1, (1, 1, 4, 4, 1, 1)),  # windows without any of the image
    (2, 2, (34, 40), 3, (3, 3), 1, (1, 1, 1, 1, 1, 1)),  # blocks of rows
)


def _convolutions(rng, dtype):
    for images, channels, axes, outputs, kernel, groups, geometry in CONVOLUTIONS:
        sh, sw, ph, pw, dh, dw = geometry
        size = (
            (axes[0] + 2 * ph - dh * (kernel[0] - 1) - 1) // sh + 1,
            (axes[1] + 2 * pw - dw * (kernel[1] - 1) - 1) // sw + 1,
        )
        for last in (False, True):
            shape = (images, *axes, channels) if last else (images, channels, *axes)
            weight = (groups, outputs // groups, channels // groups, *kernel)
            note = f"{axes} {kernel} {geometry}, channels last: {last}"
            yield normal(rng, shape, dtype), last, normal(rng, weight, dtype), size, geometry, note


def convolve(rng, dtype):
    for x, last, weight, size, geometry, note in _convolutions(rng, dtype):
        groups, outputs, _, *kernel = weight.shape
        outputs *= groups
        bias, blocks = normal(rng, outputs, dtype), blocks_of(len(x), *size)
        inputs = [x, last, weight.reshape(groups, -1), bias, blocks, geometry, tuple(kernel)]
        phases = np.array([(0, 0, *kernel, 0, 0)])
        out = np.zeros((len(x), *size, outputs) if last else (len(x), outputs, *size), dtype)
        yield KernelCase([*inputs, phases, (1, 1), size, last], outputs=[out], note=note)
        # two parts of the window; the second one has a row and a column less. The rest stays
        high, broad = kernel[0] - kernel[0] // 2, kernel[1] - kernel[1] // 2
        phases = np.array(
            [(0, 0, *kernel, 0, 1), (kernel[0] // 2, kernel[1] // 2, high, broad, 1, 2)]
        )
        taps = kernel[0] * kernel[1] + high * broad
        thin = weight.shape[2]
        inputs[2] = normal(rng, (groups, outputs // groups * thin * taps), dtype)
        area = (2 * size[0] - 1, 3 * size[1] - 1)
        out = np.zeros((len(x), *area, outputs) if last else (len(x), outputs, *area), dtype)
        inputs = [*inputs, phases, (2, 3), size, last]
        yield KernelCase(inputs, state=[out], note=f"{note}, phases")


def convolve_weight(rng, dtype):
    for x, last, weight, size, geometry, note in _convolutions(rng, dtype):
        groups, outputs, channels, *kernel = weight.shape
        dout = normal(rng, (len(x), groups * outputs, *size), dtype)
        panels, _, width = panels_shape(0, outputs, dtype)
        blocks = blocks_of(len(x), *size)
        shape = (1, groups, kernel[0], channels * kernel[1], panels, width)
        if len(x):
            inputs = [x, dout, last, blocks, groups, tuple(kernel), geometry]
            yield KernelCase(inputs, outputs=[np.empty(shape, dtype)], note=note)


# (sequences, time, channels, outputs, kernel, stride): K * C of a panel, of less than two, of many
STEPS = (
    (1, 1, 32, 1, 1, 1),
    (2, 5, 11, 3, 3, 1),
    (3, 9, 7, 2, 5, 2),  # windows in a tile overlap: fewer channels than a panel has columns
    (5, 80, 20, 17, 4, 1),
    (2, 300, 33, 9, 2, 1),
    (2, 90, 40, 5, 2, 3),  # steps that no window sees
)


def _steps(rng, dtype):
    for images, time, channels, outputs, taps, stride in STEPS:
        rows = (time - taps) // stride + 1
        packed = np.empty(panels_shape(outputs, channels * taps, dtype), dtype)
        x, dout = (images, time, channels), normal(rng, (images, outputs, rows), dtype)
        note = f"{x}, {outputs} x {taps}, stride {stride}"
        yield x, dout, (outputs, channels, taps), stride, packed, note


def steps_forward(rng, dtype):
    for (images, time, channels), _, weight, _, _, note in _steps(rng, dtype):
        for padding in (0, 1, weight[2]):
            rows = time + 2 * padding - weight[2] + 1
            inputs = [normal(rng, size, dtype) for size in ((images, time, channels), weight)]
            inputs += [normal(rng, weight[0], dtype), padding, blocks_of(images, rows, 1, 100)]
            out = np.empty((images, weight[0], rows), dtype)
            yield KernelCase(inputs, outputs=[out], note=f"{note}, padding {padding}")


def steps_input(rng, dtype):
    for x, dout, weight, stride, packed, note in _steps(rng, dtype):
        inputs = [dout, normal(rng, weight, dtype), stride]
        yield KernelCase(inputs, outputs=[packed, np.empty(x, dtype)], note=note)


def steps_weight(rng, dtype):
    for x, dout, weight, stride, sums, note in _steps(rng, dtype):
        inputs = [normal(rng, x, dtype), dout, stride]
        yield KernelCase(inputs, outputs=[sums, np.empty(weight, dtype)], note=note)


def turn_planes(rng, dtype):
    for shape in ((0, 2, 3), (1, 1, 1), (2, 17, 5), (3, 40, 300), (5, 16, 16)):
        x = normal(rng, shape, dtype)
        yield KernelCase([x], outputs=[np.empty((shape[0], shape[2], shape[1]), dtype)])


def _few(rng, dtype):
    for x, dout, weight, stride, _, note in _steps(rng, dtype):
        dout *= rng.random(dout.shape) < 0.1
        images, outputs, rows = dout.shape
        most = max(1, outputs * rows // 4)
        found = np.zeros((images, outputs + 1), np.int64), np.zeros((images, most), np.int64)
        found = *found, np.zeros((images, most), dtype)
        yield x, dout, weight, stride, found, note


def few_found(rng, dtype):
    for _, dout, _, _, found, note in _few(rng, dtype):
        for array in (dout, np.zeros_like(dout), dout + 1):  # the last one has more than there is
            yield KernelCase([array], state=[array.copy() for array in found], note=note)


def few_input(rng, dtype):
    for x, dout, weight, stride, found, note in _few(rng, dtype):
        few_found_ref(dout, *found)
        packed = np.empty((weight[0], weight[1] * weight[2]), dtype)
        inputs = [*found, normal(rng, weight, dtype), stride]
        yield KernelCase(inputs, outputs=[packed, np.empty(x, dtype)], note=note)


def few_weight(rng, dtype):
    for x, dout, weight, stride, found, note in _few(rng, dtype):
        few_found_ref(dout, *found)
        sums = np.empty((weight[0], weight[1] * weight[2]), dtype)
        outputs = [np.empty(weight[0], dtype), sums, np.empty(weight, dtype)]
        yield KernelCase([normal(rng, x, dtype), *found, stride], outputs=outputs, note=note)


THIN = (
    *((*c[:5], c[6]) for c in CONVOLUTIONS if c[5] == 1),
    (64, 1, (28, 28), 33, (4, 4), (2, 2, 1, 1, 1, 1)),
    (2, 2, (40, 70), 40, (3, 5), (2, 1, 1, 2, 1, 2)),  # blocks of rows, rows of some vectors
    (2, 1, (1, 133), 9, (1, 7), (1, 2, 0, 3, 1, 1)),
    (3, 2, (30, 33), 9, (3, 2), (3, 3, 2, 1, 1, 1)),
)


def _thin(rng, dtype):
    for images, channels, axes, outputs, kernel, geometry in THIN:
        sh, sw, ph, pw, dh, dw = geometry
        size = (
            (axes[0] + 2 * ph - dh * (kernel[0] - 1) - 1) // sh + 1,
            (axes[1] + 2 * pw - dw * (kernel[1] - 1) - 1) // sw + 1,
        )
        x, out = (images, channels, *axes), (images, outputs, *size)
        depth = channels * kernel[0] * kernel[1]
        yield x, out, depth, (kernel, geometry), f"{x} {out} {geometry}"


def thin_convolve(rng, dtype):
    for x, out, depth, how, note in _thin(rng, dtype):
        inputs = [normal(rng, x, dtype), normal(rng, (out[1], depth + 1), dtype), *how]
        yield KernelCase(inputs, outputs=[np.empty(out, dtype)], note=note)


def thin_spread(rng, dtype):
    for out, x, depth, how, note in _thin(rng, dtype):
        weight = normal(rng, (depth, x[1]), dtype)
        inputs = [normal(rng, x, dtype), weight, normal(rng, out[1], dtype), *how]
        yield KernelCase(inputs, outputs=[np.empty(out, dtype)], note=note)


# (planes, axes, output's axes, (kh, kw, sh, sw, ph, pw, dh, dw))
POOLS = (
    (0, (2, 2), (1, 1), (2, 2, 2, 2, 0, 0, 1, 1)),
    (1, (1, 1), (1, 1), (1, 1, 1, 1, 0, 0, 1, 1)),
    (3, (5, 7), (2, 3), (2, 2, 2, 2, 0, 0, 1, 1)),
    (3, (5, 7), (3, 7), (3, 3, 2, 1, 1, 1, 1, 1)),
    (2, (6, 7), (3, 2), (2, 3, 2, 3, 1, 1, 3, 2)),
    (2, (5, 5), (3, 3), (2, 2, 2, 2, 0, 0, 1, 1)),  # the last windows are cut
    (301, (14, 18), (7, 9), (2, 2, 2, 2, 0, 0, 1, 1)),
    (2, (7, 67), (3, 33), (2, 2, 2, 2, 0, 0, 1, 1)),  # three vectors, the last one of one window
    (40, (28, 31), (14, 15), (3, 3, 2, 2, 1, 0, 1, 1)),
    (2, (8, 70), (3, 24), (3, 3, 3, 3, 1, 1, 1, 1)),
    (2, (8, 90), (2, 22), (3, 2, 4, 4, 0, 0, 1, 1)),
)


def _pooled(rng, kind, shape, dtype):
    x = normal(rng, shape, dtype)
    if kind == "ties":
        return np.sign(x)
    if kind == "special":
        odd = np.array([np.nan, -np.inf, np.inf], dtype)
        return np.where(rng.random(shape) < 0.7, rng.choice(odd, shape), x)
    return x


def max_pool_forward(rng, dtype):
    for planes, axes, size, numbers in POOLS:
        for kind in ("plain", "ties", "special"):
            x, out = _pooled(rng, kind, (planes, *axes), dtype), np.empty((planes, *size), dtype)
            places = np.empty(out.shape, np.int32)
            yield KernelCase([x, *numbers], outputs=[out, places], note=f"{kind} {numbers}")


def max_pool_backward(rng, dtype):
    for planes, axes, size, _ in POOLS:
        dout = normal(rng, (planes, *size), dtype)
        places = rng.integers(0, np.prod(axes), dout.shape).astype(np.int32)
        yield KernelCase([dout, places], outputs=[np.empty((planes, *axes), dtype)])


QUADS = ((0, 2, 2), (1, 2, 3), (3, 5, 7), (301, 14, 18), (9, 28, 28), (2, 7, 67))


def max_of_four_forward(rng, dtype):
    for planes, h, w in QUADS:
        for kind in ("plain", "ties", "special"):
            out = np.empty((planes, h // 2, w // 2), dtype)
            x, places = _pooled(rng, kind, (planes, h, w), dtype), np.empty(out.shape, np.int32)
            yield KernelCase([x], outputs=[out, places], note=f"{kind} {h} x {w}")


def max_of_four_backward(rng, dtype):
    for planes, h, w in QUADS:
        dout = normal(rng, (planes, h // 2, w // 2), dtype)
        up, left = rng.integers(0, 2, (2, *dout.shape))
        rows, across = 2 * np.arange(h // 2), 2 * np.arange(w // 2)
        places = ((rows[:, None] + up) * w + across + left).astype(np.int32)
        yield KernelCase([dout, places], outputs=[np.empty((planes, h, w), dtype)])


def _means():
    for planes, axes, size, (kh, kw, sh, sw, ph, pw, _, _) in POOLS:
        for rules in (
            [("regular", n, k, s, p, True)
             for n, k, s, p in zip(size, (kh, kw), (sh, sw), (ph, pw))],
            [("adaptive", n) for n in size],
        ):  # fmt: skip
            (top, bottom, height), (left, right, width) = [
                windows(n, rule) for n, rule in zip(axes, rules)
            ]
            yield planes, axes, size, [top, bottom, left, right, height, width]


def avg_pool_forward(rng, dtype):
    for planes, axes, size, parts in _means():
        x, out = normal(rng, (planes, *axes), dtype), np.empty((planes, *size), dtype)
        yield KernelCase([x, *parts], outputs=[out])


def avg_pool_backward(rng, dtype):
    for planes, axes, size, parts in _means():
        dout, dx = normal(rng, (planes, *size), dtype), np.empty((planes, *axes), dtype)
        yield KernelCase([dout, *parts], outputs=[dx])


def resample(rng, dtype):
    for n, t, o, d in ((0, 3, 2, 2), (1, 1, 1, 1), (3, 5, 7, 1), (3, 5, 7, 4), (60, 31, 37, 18)):
        counts = rng.integers(0, 4, o)
        starts = np.concatenate([[0], np.cumsum(counts)])
        ids, weights = rng.integers(0, t, starts[-1]), normal(rng, starts[-1], dtype)
        x, out = normal(rng, (n, t, d), dtype), np.empty((n, o, d), dtype)
        yield KernelCase([x, starts, ids, weights], outputs=[out])


CASES = {
    "avg_pool_backward": avg_pool_backward,
    "avg_pool_forward": avg_pool_forward,
    "col2im": col2im,
    "convolve": convolve,
    "convolve_weight": convolve_weight,
    "depthwise_forward": depthwise_forward,
    "depthwise_input": depthwise_input,
    "depthwise_weight": depthwise_weight,
    "few_found": few_found,
    "few_input": few_input,
    "few_weight": few_weight,
    "im2col": im2col,
    "max_of_four_backward": max_of_four_backward,
    "max_of_four_forward": max_of_four_forward,
    "max_pool_backward": max_pool_backward,
    "max_pool_forward": max_pool_forward,
    "resample": resample,
    "thin_convolve": thin_convolve,
    "thin_spread": thin_spread,
    "steps_forward": steps_forward,
    "steps_input": steps_input,
    "steps_weight": steps_weight,
    "turn_planes": turn_planes,
}
