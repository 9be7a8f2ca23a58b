"""Convolutions and their gradients in the weight as matrix products over windows.

Memory-efficient convolution (Cho & Brand 2017, arXiv:1706.06873): images are spread out along their
width alone,

    wide[b, (c, j), (h, t)] = x[b, c, h, t * sw + j * dw - pw],        0 outside the image

KW times the image instead of KH * KW times. Tap row i then looks at wide from row i * dh on, and
all positions of an image follow one another in memory, whatever kernel and dilation are; with a
step the rows of each remainder of h / sh stand together. Work goes by blocks (some images, or some
rows of one) whose parts stay in the second-level cache, and through them by panels of 32 positions
that stay in the first, for the products in registers of `_tile`.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._lanes import move, move_few, move_second, turn
from minidl.kernels._tile import tile, tile_rows
from minidl.kernels.conv import span_ref

_DEPTH = 128  # weights of an output that are multiplied at once: panels of 16 KB


@helper
def _channels_at_once(channels, taps):
    """Channels of a chunk: alike in size, of about _DEPTH weights."""
    most = max(1, _DEPTH // taps)
    count = (channels + most - 1) // most
    return (channels + count - 1) // count


def images_first(x, last):
    """A view (B, C, H, W) of x, which is that or (last) (B, H, W, C)."""
    return x.transpose(0, 3, 1, 2) if last else x


def taps_ref(x, size, kernel, geometry):
    """(i, j, outputs, windows) of every tap: the part of x (B, C, H, W) that it sees."""
    sh, sw, ph, pw, dh, dw = geometry
    for i in range(kernel[0]):
        rows, sources = span_ref(i, sh, ph, dh, x.shape[2], size[0])
        for j in range(kernel[1]):
            across, taken = span_ref(j, sw, pw, dw, x.shape[3], size[1])
            yield i, j, (..., rows, across), x[:, :, sources, taken]


@piece
def _pad(x, last, b, first, top, left, shape, target, place, apart):
    """Channels from `first` of image b, from (top, left) on, to (C, Hp, sw, Wp) in target.

    target is flat, 0 where nothing of the image comes, with room for a vector behind. Channels are
    `apart`, the first at `place`. Columns w = u * sw + step stand at [step, u], so that every tap
    finds its own side by side.
    """
    channels, height, steps, width = shape
    if last:
        rows, across = x.shape[1], x.shape[2]
    else:
        rows, across = x.shape[2], x.shape[3]
    start, stop = max(0, -left), min(width * steps, across - left)
    if stop <= start:
        return
    source, lanes = x.reshape(x.size), 64 // x.itemsize
    lowest, highest = max(0, -top), min(height, rows - top)
    if last:
        deep = x.shape[3]
        if steps == 1 and left == 0 and width == across:  # rows follow one another
            come = (b * rows + lowest + top) * across * deep + first
            count = (highest - lowest) * across
            turn(source, come, deep, count, channels, target, place + lowest * width, apart)
            return
        for h in range(lowest, highest):
            come = ((b * rows + h + top) * across + left) * deep + first
            for step in range(steps):
                w = start + (step - start) % steps  # the first column there
                if w < stop:
                    count = (stop - w + steps - 1) // steps
                    go = place + (h * steps + step) * width + w // steps
                    pixels = come + w * deep
                    turn(source, pixels, steps * deep, count, channels, target, go, apart)
        return
    spans = np.empty((steps, 2), np.int64)  # here, for divisions took half of a row's time
    for step in range(steps):
        spans[step, 0] = (start - step + steps - 1) // steps if start > step else 0
        spans[step, 1] = (stop - step + steps - 1) // steps
    # from first to last, for with each row zeros are written behind it
    for c in range(channels):
        for h in range(lowest, highest):
            come = ((b * x.shape[1] + first + c) * rows + h + top) * across + left
            for step in range(steps):
                u, end = spans[step, 0], spans[step, 1]
                go = place + c * apart + (h * steps + step) * width
                while u < end:  # a range with a step divides for its length
                    s, count = come + u * steps + step, min(lanes, end - u)
                    if steps == 1:
                        move_few(source, s, target, go + u, count)
                    elif steps == 2:
                        move_second(source, s, target, go + u, count)
                    else:
                        for v in range(count):
                            target[go + u + v] = source[s + v * steps]
                    u += lanes


@piece
def _lay_out(x, last, block, first, many, size, geometry, taps, across, padded, wide):
    """wide (C * KW, B, L) of `many` channels from `first` on; size: (Hp, Wp) of a padded image."""
    sh, sw, ph, pw, _, dw = geometry
    height, columns = size[0], (size[1] + sw - 1) // sw
    images, plane = block[1] - block[0], height * sw * columns
    straight = _is_straight(last, sh, sw, taps)
    for b in range(images):
        if straight:
            place, apart = b * plane, images * plane
        else:
            place, apart = b * many * plane, plane
        _pad(
            x, last, block[0] + b, first, block[2] * sh - ph, -pw, (many, height, sw, columns),
            padded, place, apart,
        )
    if not straight:
        image = padded[: images * many * plane].reshape(images, many, height, sw, columns)
        _widen(image, taps, sh, dw, across, wide)


@helper
def _is_straight(last, sh, sw, taps):
    """One tap across and no steps: padded images are `wide` at once. (With channels first, zeros
    are written behind each row, which would be another channel's.)"""
    return last and sh == 1 and sw == 1 and taps == 1


@piece
def _widen(padded, taps, sh, dw, across, wide):
    """wide (C * KW, B, L) of padded (B, C, Hp, sw, Wp): rows h = r * sh + step, by step.

    Whole vectors are copied: what is too much the next row writes over, and what lies behind the
    last row is never looked at.
    """
    images, channels, height, steps, width = padded.shape
    lanes = 64 // padded.itemsize
    rows = (height + sh - 1) // sh
    source, target = padded.reshape(padded.size), wide.reshape(wide.size)
    for k in range(wide.shape[0]):
        c, j = k // taps, k % taps
        column = (j * dw) % steps * width + j * dw // steps
        for b in range(images):
            place = (k * images + b) * wide.shape[2]
            if steps == 1 and sh == 1 and across == width:  # one tap: rows follow one another
                begin = (b * channels + c) * height * width
                for t in range(0, height * width, lanes):
                    move(source, begin + t, target, place + t)
                continue
            for step in range(min(sh, height)):
                for h in range(step, height, sh):
                    begin = ((b * channels + c) * height + h) * steps * width + column
                    t = 0
                    while t < across:
                        move(source, begin + t, target, place + t)
                        t += lanes
                    place += across
                place += (rows - (height - step + sh - 1) // sh) * across


@helper
def _offset(i, sh, dh, rows, across):
    """Where tap row i begins in an image of `wide`."""
    return ((i * dh) % sh * rows + i * dh // sh) * across


@piece
def _pack(wide, channels, q, count, positions, phase, taps, sh, dh, rows, across, begins, panel):
    """panel (C * kh * kw, width), flat: the windows of `count` positions from q on, of all images.

    As in `_widen` whole vectors are copied, and the following image's, or row's, write over what
    is too much; begins (width, 2) notes where each image's positions come from and go to.
    """
    lanes = 64 // wide.itemsize
    parts, t = 0, 0
    while t < count:
        b, s = q // positions, q % positions
        begins[parts, 0], begins[parts, 1] = b * wide.shape[2] + s, t
        parts += 1
        many = min(count - t, positions - s)
        t += many
        q += many
    source, row = wide.reshape(wide.size), 0
    length = wide.shape[1] * wide.shape[2]
    for c in range(channels):
        for i in range(phase[0], phase[0] + phase[2]):
            start = (c * taps + phase[1]) * length + _offset(i, sh, dh, rows, across)
            for _ in range(phase[3]):
                for n in range(parts):
                    come, go = start + begins[n, 0], row + begins[n, 1]
                    move(source, come, panel, go)
                    move(source, come + lanes, panel, go + lanes)
                start += length
                row += 2 * lanes


@piece
def _put(total, bias, last, b, first_out, top, rows, across, step, phase, q, out):
    """One image's positions of total (O, ·), from q on, with bias, to their places in out."""
    row_step, column_step = step
    row_start, column_start = phase[4], phase[5]
    outputs, length = total.shape
    height, width = (out.shape[1], out.shape[2]) if last else (out.shape[2], out.shape[3])
    # phases that start further on have a position less where the steps do not come out even
    most = min(rows, (height - row_start + row_step - 1) // row_step - top)
    count = min(across, (width - column_start + column_step - 1) // column_step)
    # flat, for each view of several axes costs a tenth of a second to compile
    source, target = total.reshape(total.size), out.reshape(out.size)
    if last:
        channels = out.shape[3]
        start = bias[first_out : first_out + outputs]
        for r in range(most):
            h = b * height + (top + r) * row_step + row_start
            for t in range(count):
                go = (h * width + t * column_step + column_start) * channels + first_out
                pixel, come = target[go : go + outputs], source[q + r * across + t :]
                for o in range(start.size):
                    pixel[o] = come[o * length] + start[o]
        return
    if row_step == 1 and column_step == 1 and across == width:  # one long row
        most, count, across = 1, rows * across, 0
    for o in range(outputs):
        start_o = bias[first_out + o]
        for r in range(most):
            come = o * length + q + r * across
            go = (b * out.shape[1] + first_out + o) * height + (top + r) * row_step + row_start
            sums, row = source[come : come + count], target[go * width + column_start :]
            if column_step == 1:
                for t in range(sums.size):
                    row[t] = sums[t] + start_o
            elif column_step == 2:
                for t in range(sums.size):
                    row[2 * t] = sums[t] + start_o
            else:
                for t in range(sums.size):
                    row[column_step * t] = sums[t] + start_o


@piece
def _room(images, channels, height, width, taps, sh, sw, across, last, x):
    """(padded, wide) for so many images: zeros, and junk with room for a vector too much."""
    columns = (width + sw - 1) // sw
    lines = (height + sh - 1) // sh * min(sh, height)
    slack = 256 // x.itemsize
    padded = np.zeros(images * channels * height * sw * columns + slack, x.dtype)
    if _is_straight(last, sh, sw, taps):
        return padded, padded
    wide = np.empty(channels * taps * images * lines * across + slack, x.dtype)
    return padded, wide


@piece
def _convolve_block(
    x, last, weight, bias, block, group, geometry, kernel, phases, step, across, out_last, out
):
    kernel_h, taps = kernel
    sh, sw, _, _, dh, dw = geometry
    groups = weight.shape[0]
    channels, outputs = x.shape[3 if last else 1] // groups, bias.size // groups
    images, top, rows = block[1] - block[0], block[2], block[3] - block[2]
    height = (rows - 1) * sh + (kernel_h - 1) * dh + 1
    width = (across - 1) * sw + (taps - 1) * dw + 1
    planes = (height + sh - 1) // sh
    length = planes * min(sh, height) * across
    lanes = 128 // x.itemsize
    # phases with one window are one matrix: its positions are packed once
    turns, largest = 1, 1
    for f in range(len(phases)):
        largest = max(largest, phases[f, 2] * phases[f, 3])
        for k in range(4):
            if phases[f, k] != phases[0, k]:
                turns = len(phases)
    together = outputs * len(phases) // turns
    most = _channels_at_once(channels, largest)
    positions = rows * across
    panels = (images * positions + lanes - 1) // lanes
    padded, wide = _room(images, most, height, width, taps, sh, sw, across, last, x)
    panel = np.zeros((most * largest + 2) * lanes, x.dtype)
    begins = np.empty((lanes, 2), np.int64)
    total = np.empty((len(phases) * outputs, panels * lanes), x.dtype)
    for first in range(0, channels, most):
        many = min(most, channels - first)
        spread = wide[: many * taps * images * length].reshape(many * taps, images, length)
        _lay_out(
            x, last, block, group * channels + first, many, (height, width), geometry, taps, across,
            padded, spread,
        )
        place = 0
        for f in range(turns):
            phase, sums = phases[f], total[f * together : (f + 1) * together]
            seen = phase[2] * phase[3]
            depth, start, end = many * seen, first * seen, place + together * channels * seen
            matrix = weight[group, place:end].reshape(together, channels * seen)
            place = end
            for p in range(panels):
                q = p * lanes
                count = min(lanes, images * positions - q)
                _pack(
                    spread, many, q, count, positions, phase, taps, sh, dh, planes, across, begins,
                    panel,
                )
                windows = panel[: depth * lanes].reshape(depth, lanes)
                o = 0
                while o < together:
                    n = tile_rows(together - o)
                    a = matrix[o : o + n, start : start + depth]
                    tile(a, windows, n, first > 0, sums[o : o + n, q : q + lanes])
                    o += n
    for f in range(len(phases)):
        for b in range(images):
            _put(
                total[f * outputs : (f + 1) * outputs], bias, out_last, block[0] + b,
                group * outputs, top, rows, across, step, phases[f], b * positions, out,
            )


def convolve_ref(
    x, last, weight, bias, blocks, geometry, kernel, phases, step, size, out_last, out
):
    x, out = images_first(x, last), images_first(out, out_last)
    groups = len(weight)
    outputs, channels = len(bias) // groups, x.shape[1] // groups
    place = 0
    for up, left, high, broad, row, column in phases:
        total = np.zeros((len(x), len(bias), *size), x.dtype)
        end = place + outputs * channels * high * broad
        matrix = weight[:, place:end].reshape(groups, outputs, channels, high, broad)
        place = end
        for i, j, here, seen in taps_ref(x, size, kernel, geometry):
            if not (up <= i < up + high and left <= j < left + broad):
                continue
            for g in range(groups):
                o = slice(g * outputs, (g + 1) * outputs)
                c = slice(g * channels, (g + 1) * channels)
                tap = matrix[g, :, :, i - up, j - left]
                part = total[:, o][here]
                part += np.einsum("oc,bchw->bohw", tap, seen[:, c], optimize=True)
        target = out[:, :, row :: step[0], column :: step[1]][:, :, : size[0], : size[1]]
        target[:] = (total + bias[:, None, None])[:, :, : target.shape[2], : target.shape[3]]


@kernel(reference=convolve_ref, parallel=True, serial_below=2_000)
def convolve(x, last, weight, bias, blocks, geometry, kernel, phases, step, size, out_last, out):
    """x (B, C, H, W), or (B, H, W, C) if last; bias (O,); out as x, channels last if out_last.

    blocks (n, 4): first image, last, first row of outputs, last. geometry and kernel: of the window
    at each position of `size`. phases (P, 6): convolutions with a part of the window each, whose
    position (r, t) goes to out's (r * step[0] + row, t * step[1] + column); others are left as they
    are. A phase: first row of taps, first column, rows kh, columns kw; row, column. weight (G, ·):
    the phases' weights (O/G, C/G, kh, kw), one after the other.
    """
    count = len(blocks)
    for p in prange(count * weight.shape[0]):
        _convolve_block(
            x, last, weight, bias, blocks[p % count], p // count, geometry, kernel, phases, step,
            size[1], out_last, out,
        )


@piece
def _weight_block(x, dout, last, block, group, outputs, kernel, geometry, dweight, begin):
    """dweight (KH, C * KW, panels, width), += the block's part, or = if begin."""
    kernel_h, taps = kernel
    sh, sw, _, _, dh, dw = geometry
    channels = dweight.shape[1] // taps
    images, top, rows = block[1] - block[0], block[2], block[3] - block[2]
    across = dout.shape[3]
    height = (rows - 1) * sh + (kernel_h - 1) * dh + 1
    width = (across - 1) * sw + (taps - 1) * dw + 1
    planes = (height + sh - 1) // sh
    length = planes * min(sh, height) * across
    most = _channels_at_once(channels, taps)
    positions = rows * across
    padded, wide = _room(images, most, height, width, taps, sh, sw, across, last, x)
    turned = np.zeros((dweight.shape[2], images * positions, dweight.shape[3]), x.dtype)
    plane, panel = dout.shape[2] * across, images * positions * dweight.shape[3]
    for p in range(dweight.shape[2]):
        first = p * dweight.shape[3]
        for b in range(images):
            come = ((block[0] + b) * dout.shape[1] + group * outputs + first) * plane
            turn(
                dout.reshape(dout.size), come + top * across, plane,
                min(dweight.shape[3], outputs - first), positions, turned.reshape(turned.size),
                p * panel + b * positions * dweight.shape[3], dweight.shape[3],
            )
    # where an image's positions follow those of the one before, both are one sum
    whole = images if length == positions else 1
    for first in range(0, channels, most):
        many = min(most, channels - first)
        spread = wide[: many * taps * images * length].reshape(many * taps, images, length)
        _lay_out(
            x, last, block, group * channels + first, many, (height, width), geometry, taps, across,
            padded, spread,
        )
        flat = spread.reshape(many * taps, images * length)
        for p in range(turned.shape[0]):
            for i in range(kernel_h):
                start = _offset(i, sh, dh, planes, across)
                k = 0
                while k < many * taps:
                    n = tile_rows(many * taps - k)
                    c = dweight[i, first * taps + k : first * taps + k + n, p]
                    add = not begin
                    for b in range(0, images, whole):
                        s = b * length + start
                        a = flat[k : k + n, s : s + whole * positions]
                        tile(a, turned[p, b * positions : (b + whole) * positions], n, add, c)
                        add = True
                    k += n


def convolve_weight_ref(x, dout, last, blocks, groups, kernel, geometry, parts):
    x = images_first(x, last)
    channels, outputs = x.shape[1] // groups, dout.shape[1] // groups
    parts[:] = 0
    width = parts.shape[4] * parts.shape[5]
    total = np.zeros((groups, kernel[0], channels, kernel[1], width), x.dtype)
    for i, j, here, seen in taps_ref(x, dout.shape[2:], kernel, geometry):
        for g in range(groups):
            o, c = slice(g * outputs, (g + 1) * outputs), slice(g * channels, (g + 1) * channels)
            total[g, i, :, j, :outputs] = np.einsum(
                "bchw,bohw->co", seen[:, c], dout[:, o][here], optimize=True
            )
    parts[0] = total.reshape(parts.shape[1:])


@kernel(reference=convolve_weight_ref, parallel=True, serial_below=2_000)
def convolve_weight(x, dout, last, blocks, groups, kernel, geometry, parts):
    """x (B, C, H, W), or (B, H, W, C) if last; dout (B, O, OH, OW); blocks as in `convolve`.

    parts (n, G, KH, C/G * KW, panels, width): the gradient in the weight, in n sums over equally
    many blocks, with the outputs of a group last.
    """
    count, runs = len(blocks), parts.shape[0]
    outputs = dout.shape[1] // groups
    for p in prange(runs * groups):
        n, g = p // groups, p % groups
        first = n * count // runs
        for k in range(first, (n + 1) * count // runs):
            _weight_block(
                x, dout, last, blocks[k], g, outputs, kernel, geometry, parts[n, g], k == first
            )
