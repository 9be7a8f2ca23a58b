"""Windows of images as the columns of a matrix, and such columns added back into images.

With the windows as columns a convolution is one matrix product (Chellapilla, Puri & Simard 2006,
"High performance convolutional neural networks for document processing"). Geometry, for each axis:
output o looks with tap i at input o * stride + i * dilation - padding. A negative padding is an
offset: that is how a part of the output's rows is asked for.
"""

from minidl.kernels._jit import helper, kernel, piece, prange


@helper
def first_inside(shift, stride):
    """The first o >= 0 with o * stride + shift >= 0."""
    return max(0, (stride - 1 - shift) // stride)


@helper
def end_inside(shift, stride, size, count):
    """One past the last o < count with o * stride + shift < size."""
    return min(count, (size - 1 - shift) // stride + 1)


def span_ref(tap, stride, padding, dilation, size, count):
    """(outputs, inputs) as slices: where one tap meets the image along one axis."""
    shift = tap * dilation - padding
    first = first_inside(shift, stride)
    end = max(first, end_inside(shift, stride, size, count))
    start = first * stride + shift
    if end == first:
        return slice(0, 0), slice(0, 0)
    return slice(first, end), slice(start, start + (end - first - 1) * stride + 1, stride)


def im2col_ref(x, sh, sw, ph, pw, dh, dw, cols):
    cols[:] = 0
    for i in range(cols.shape[1]):
        rows, sources = span_ref(i, sh, ph, dh, x.shape[2], cols.shape[4])
        for j in range(cols.shape[2]):
            across, taken = span_ref(j, sw, pw, dw, x.shape[3], cols.shape[5])
            cols[:, i, j, :, rows, across] = x[:, :, sources, taken].swapaxes(0, 1)


@piece
def _shifted_plane(x, width, first, end, left, right, shift, out):
    """out[t] = x[t + shift] in rows first … end-1 and columns left … right-1, 0 elsewhere.

    x and out are planes of one width, flat: one long copy, then the columns that wrapped around.
    """
    zero = x.dtype.type(0)
    start, stop = first * width, end * width
    for t in range(start):
        out[t] = zero
    for t in range(stop, out.size):
        out[t] = zero
    low, high = max(start, -shift), min(stop, x.size - shift)
    if high > low:
        source, target = x[low + shift : high + shift], out[low:high]
        for t in range(target.size):
            target[t] = source[t]
    if left == 0 and right == width:
        return
    for o in range(first, end):
        row = out[o * width : (o + 1) * width]
        for t in range(left):
            row[t] = zero
        for t in range(right, width):
            row[t] = zero


@piece
def _columns(x, sh, sw, ph, pw, dh, dw, b, cols):
    """x (H, W), a channel of image b; cols (KH, KW, B, OH, OW), the columns of that channel."""
    height, width = x.shape
    taps_h, taps_w, _, rows, across = cols.shape
    zero = x.dtype.type(0)
    for i in range(taps_h):
        shift_h = i * dh - ph
        first = first_inside(shift_h, sh)
        end = max(first, end_inside(shift_h, sh, height, rows))
        for j in range(taps_w):
            shift = j * dw - pw
            left = min(across, first_inside(shift, sw))
            right = max(left, end_inside(shift, sw, width, across))
            if sh == 1 and sw == 1 and across == width:
                flat = cols[i, j, b].reshape(rows * across)
                whole = x.reshape(height * width)
                first = min(first, rows)
                end = max(first, end)
                _shifted_plane(
                    whole, width, first, end, left, right, shift_h * width + shift, flat
                )
                continue
            for o in range(rows):
                row = cols[i, j, b, o]
                h = o * sh + shift_h
                if h < 0 or h >= height:
                    for t in range(across):
                        row[t] = zero
                    continue
                for t in range(left):
                    row[t] = zero
                for t in range(right, across):
                    row[t] = zero
                if right > left:
                    source, target = x[h, left * sw + shift :], row[left:right]
                    if sw == 1:
                        for t in range(target.size):
                            target[t] = source[t]
                    else:
                        for t in range(target.size):
                            target[t] = source[t * sw]


@kernel(reference=im2col_ref, parallel=True, serial_below=60_000, size_of="cols")
def im2col(x, sh, sw, ph, pw, dh, dw, cols):
    """x (B, C, H, W); stride, padding, dilation of both axes; cols (C, KH, KW, B, OH, OW).

    cols[c, i, j, b, o, t] = x[b, c, o * sh + i * dh - ph, t * sw + j * dw - pw], 0 outside.
    """
    images, channels = x.shape[0], x.shape[1]
    for p in prange(images * channels):
        c, b = p // images, p % images
        _columns(x[b, c], sh, sw, ph, pw, dh, dw, b, cols[c])


def col2im_ref(cols, bias, begin, sh, sw, ph, pw, dh, dw, out):
    if begin:
        out[:] = bias[:, None, None]
    for i in range(cols.shape[1]):
        rows, targets = span_ref(i, sh, ph, dh, out.shape[2], cols.shape[4])
        for j in range(cols.shape[2]):
            across, met = span_ref(j, sw, pw, dw, out.shape[3], cols.shape[5])
            out[:, :, targets, met] += cols[:, i, j, :, rows, across].swapaxes(0, 1)


@piece
def _add_columns(cols, b, sh, sw, ph, pw, dh, dw, out):
    """cols (KH, KW, B, OH, OW); out (H, W), the same channel of image b."""
    height, width = out.shape
    taps_h, taps_w, _, rows, across = cols.shape
    for i in range(taps_h):
        shift_h = i * dh - ph
        first = first_inside(shift_h, sh)
        end = end_inside(shift_h, sh, height, rows)
        for j in range(taps_w):
            shift = j * dw - pw
            left = first_inside(shift, sw)
            right = end_inside(shift, sw, width, across)
            if right <= left:
                continue
            if sh == 1 and sw == 1 and shift == 0 and across == width and end > first:
                start = (first + shift_h) * width
                source = cols[i, j, b, first:end].reshape((end - first) * width)
                target = out.reshape(height * width)[start : start + source.size]
                for t in range(source.size):
                    target[t] += source[t]
                continue
            for o in range(first, end):
                row = cols[i, j, b, o, left:right]
                target = out[o * sh + shift_h, left * sw + shift :]
                if sw == 1:
                    for t in range(row.size):
                        target[t] += row[t]
                else:
                    for t in range(row.size):
                        target[t * sw] += row[t]


@kernel(reference=col2im_ref, parallel=True, serial_below=60_000)
def col2im(cols, bias, begin, sh, sw, ph, pw, dh, dw, out):
    """cols (C, KH, KW, B, OH, OW); bias (C,); begin 0 or 1; out (B, C, H, W).

    out[b, c, o * sh + i * dh - ph, t * sw + j * dw - pw] += cols[c, i, j, b, o, t], where inside;
    begin: out is first filled with bias.
    """
    images, channels = out.shape[0], out.shape[1]
    for p in prange(images * channels):
        b, c = p // channels, p % channels
        if begin:
            plane = out[b, c].reshape(out.shape[2] * out.shape[3])
            start = bias[c]
            for t in range(plane.size):
                plane[t] = start
        _add_columns(cols[c], b, sh, sw, ph, pw, dh, dw, out[b, c])
