"""A constant sparse matrix along one axis: interpolation, and padding by the image's own values."""


from minidl.kernels._jit import kernel, piece, prange


def resample_ref(x, starts, ids, weights, out):
    for o in range(out.shape[1]):
        s, e = starts[o], starts[o + 1]
        out[:, o] = (x[:, ids[s:e]] * weights[s:e, None]).sum(axis=1)


@piece
def _mix_rows(x, starts, ids, weights, out):
    zero = x.dtype.type(0)
    if x.shape[1] == 1:
        source, target = x.reshape(x.shape[0]), out.reshape(out.shape[0])
        for o in range(target.size):
            total = zero
            for k in range(starts[o], starts[o + 1]):
                total += weights[k] * source[ids[k]]
            target[o] = total
        return
    for o in range(out.shape[0]):
        row = out[o]
        for d in range(row.size):
            row[d] = zero
        for k in range(starts[o], starts[o + 1]):
            factor, source_row = weights[k], x[ids[k]]
            for d in range(row.size):
                row[d] += factor * source_row[d]


@kernel(reference=resample_ref, parallel=True, serial_below=60_000, size_of="out")
def resample(x, starts, ids, weights, out):
    """x (N, T, D); starts (O+1,), ids, weights: rows of a sparse (O, T) matrix; out (N, O, D).

    out[n, o] = sum over k in starts[o] … starts[o+1]-1 of weights[k] * x[n, ids[k]].
    """
    for n in prange(x.shape[0]):
        _mix_rows(x[n], starts, ids, weights, out[n])
