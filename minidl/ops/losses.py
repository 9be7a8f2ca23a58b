"""Losses that are more exact, or need fewer passes over memory, as one op."""

import numpy as np

from minidl import kernels
from minidl.ops import _math
from minidl.ops._op import Op, empty


class CrossEntropy(Op):
    """Cross-entropy of logits and a class for each row, in one pass (Bridle 1990).

        out_n = -sum_k q_k log softmax(x_n)_k,   q = (1 - s) weight_t onehot(t) + s / K weight
        dx = dout * (softmax(x) * sum(q) - q)

    t the row's class, s the label smoothing (Szegedy et al. 2016, arXiv:1512.00567, section 7). A
    row whose class is `ignore_index` has loss and gradient 0.
    Shapes: x (N, K), target (N,) int64, weight (K,), out (N,).
    """

    saves = ("x", "target", "weight", "lse")
    constants = ("weight",)

    @staticmethod
    def forward(x, target, weight, *, label_smoothing, ignore_index):
        x = np.ascontiguousarray(x)
        out, lse = empty(len(x), x.dtype), empty(len(x), x.dtype)
        run = _math.suited(kernels.cross_entropy_forward, x)
        run(x, target, weight, label_smoothing, ignore_index, out, lse)
        return out, (x, target, weight, lse)

    @staticmethod
    def backward(dout, saved, needs, *, label_smoothing, ignore_index):
        x, target, weight, lse = saved
        dx = empty(x.shape, x.dtype)
        dout = np.ascontiguousarray(dout)
        run = _math.suited(kernels.cross_entropy_backward, x)
        run(dout, x, target, weight, label_smoothing, ignore_index, lse, dx)
        return dx, None, None

    @staticmethod
    def composite(F, x, target, weight, *, label_smoothing, ignore_index):
        classes = x.shape[1]
        t, w = target.array, weight.array
        kept = t != ignore_index
        t = np.where(kept, t, 0)
        q = np.zeros(x.shape, x.dtype)
        q[np.arange(len(t)), t] = (1 - label_smoothing) * w[t]
        q += label_smoothing / classes * w
        q *= kept[:, None]
        return -(F.log_softmax(x, 1) * F.tensor(q)).sum(axis=1)

    @classmethod
    def flops(cls, *shapes, **settings):
        """As softmax: five of each logit."""
        return 5 * shapes[0][0] * shapes[0][1]


class LinearCrossEntropy(Op):
    """Cross-entropy of logits that are a product with a large table, which are never kept.

        out_n = -sum_k q_k log softmax(z_n)_k,   z_n = weight x_n + bias,   q as in `CrossEntropy`
        dz = dout * (softmax(z) * sum(q) - q)
        dx = dz @ weight,   dweight = dz^T @ x,   dbias = sum(dz), over the rows

    z and dz are made a few rows at a time, whose products follow while they are near (Wijmans et
    al. 2024, arXiv:2411.09009), so memory grows with N + V, not N V. `reduction` is "none", "sum",
    or "mean": the sum over rows by the sum of their weight_t. With `ahead`, for the latter two, the
    gradients are made with the loss, but for the factor dout, as in Liger (Hsu et al. 2024,
    arXiv:2410.10989): three products. Otherwise backward makes z once more: four.

    A row whose class is `ignore_index` has loss and gradient 0, and takes no time.
    Shapes: x (N, D), weight (V, D), bias (V,) or None, target (N,) int64, shares (V,): the weight
    of each class, out (N,) or ().
    """

    saves = ("x", "weight", "bias", "target", "shares", "gradients")
    constants = ("shares",)

    @staticmethod
    def forward(
        x, weight, bias, target, shares, *, label_smoothing, ignore_index, reduction, ahead, keep
    ):
        rows, classes, factor = _counted(x, target, shares, ignore_index, reduction)
        gradients, each = None, empty(len(classes), x.dtype)
        none = empty(0, x.dtype)
        table, add = np.ascontiguousarray(weight), none if bias is None else bias
        if keep and ahead and reduction != "none":
            dloss = np.full(len(classes), factor, x.dtype)
            wants = (True, True, bias is not None)
            gradients = _table_gradients(
                dloss, rows, table, add, classes, shares, label_smoothing, each, wants
            )
        else:
            run = _math.suited(kernels.linear_cross_entropy_forward, weight)
            run(rows, table, add, classes, shares, label_smoothing, each)
        if reduction == "none":
            out = _spread(each, target, ignore_index)
        else:
            out = np.asarray(each.sum(dtype=np.float64) * factor, x.dtype)
        return out, (x, weight, bias, target, shares, gradients) if keep else None

    @staticmethod
    def backward(dout, saved, needs, *, label_smoothing, ignore_index, reduction, ahead):
        x, weight, bias, target, shares, gradients = saved
        if gradients is not None:
            found = [g if g is None else np.multiply(g, dout, out=empty(g.shape, g.dtype))
                     for g in gradients]  # fmt: skip
        else:
            rows, classes, factor = _counted(x, target, shares, ignore_index, reduction)
            if reduction == "none":
                dloss = np.ascontiguousarray(dout[target != ignore_index])
            else:
                dloss = np.full(len(classes), dout * factor, x.dtype)
            add = empty(0, x.dtype) if bias is None else bias
            found = _table_gradients(
                dloss, rows, np.ascontiguousarray(weight), add, classes, shares, label_smoothing,
                empty(len(classes), x.dtype), needs,
            )  # fmt: skip
        dx = _spread(found[0], target, ignore_index) if needs[0] else None
        return dx, found[1] if needs[1] else None, found[2] if needs[2] else None, None, None

    @staticmethod
    def composite(
        F, x, weight, bias, target, shares, *, label_smoothing, ignore_index, reduction, ahead
    ):
        z = x @ weight.swapaxes(0, 1)
        each = CrossEntropy.composite(
            F, z if bias is None else z + bias, target, shares,
            label_smoothing=label_smoothing, ignore_index=ignore_index,
        )  # fmt: skip
        if reduction == "none":
            return each
        factor = _counted(x.array, target.array, shares.array, ignore_index, reduction)[2]
        return each.sum() * float(factor)

    @classmethod
    def flops(cls, *shapes, **settings):
        """The product and five of each logit; with `ahead` the gradients' two products as well."""
        (n, d), v = shapes[0], shapes[1][0]
        products = 3 if _early(settings) else 1
        return n * v * (products * 2 * d + 5)

    @classmethod
    def flops_backward(cls, *shapes, **settings):
        """Three products, or, where they are made before, a factor for each gradient."""
        (n, d), v = shapes[0], shapes[1][0]
        return (n + v) * d if _early(settings) else n * v * (3 * 2 * d + 5)

    @classmethod
    def bytes(cls, *arrays):
        """Each array once, and a loss a row: nothing of the logits' size."""
        return sum(array.nbytes for array in arrays) + len(arrays[0]) * arrays[0].itemsize


def _early(settings):
    return settings.get("ahead", False) and settings.get("reduction") != "none"


def _counted(x, target, shares, ignore_index, reduction):
    """The rows that count, their classes, and what the sum of losses is multiplied by."""
    kept = target != ignore_index
    if not kept.all():
        x, target = x[kept], target[kept]
    factor = 1.0
    if reduction == "mean":
        total = shares[target].sum(dtype=np.float64)
        factor = 1.0 / total if total else np.nan  # no row counts: 0 / 0, as in PyTorch
    return np.ascontiguousarray(x), np.ascontiguousarray(target), factor


def _spread(values, target, ignore_index):
    """Rows for all targets from those that count: 0 for the others."""
    kept = target != ignore_index
    if len(values) == len(target):
        return values
    out = empty((len(target), *values.shape[1:]), values.dtype)
    out[...] = 0
    out[kept] = values
    return out


def _table_gradients(dloss, x, weight, bias, target, shares, smoothing, loss, wants):
    """dx, dweight and dbias of sum(dloss * loss), those that are wanted; fills loss."""
    like = x, weight, bias
    found = [empty(a.shape if want else (0, *a.shape[1:]), x.dtype) for a, want in zip(like, wants)]
    run = _math.suited(kernels.linear_cross_entropy_gradients, weight)
    run(dloss, x, weight, bias, target, shares, smoothing, loss, *found)
    return [a if want else None for a, want in zip(found, wants)]


class BCEWithLogits(Op):
    """Binary cross-entropy of a logit x and a target t in [0, 1], without overflow.

        out = max(x, 0) - x t + log(1 + e^-|x|)
        dx = dout * (sigmoid(x) - t),   dtarget = -dout * x

    Shapes: x, target and out are equal.
    """

    saves = ("x", "target")

    @staticmethod
    def forward(x, target):
        return _math.run(kernels.bce_with_logits_forward, x, target), (x, target)

    @staticmethod
    def backward(dout, saved, needs):
        x, target = saved
        if _math.large(dout) and not needs[1]:
            return _math.run(kernels.bce_with_logits_backward, dout, x, target), None
        dx = dout * (_math.sigmoid(x) - target) if needs[0] else None
        return dx, -dout * x if needs[1] else None

    @classmethod
    def flops(cls, *shapes, **settings):
        """Exponential, logarithm and five more of each element."""
        return 7 * int(np.prod(shapes[0], dtype=np.int64))


class BPR(Op):
    """Bayesian personalised ranking (Rendle et al. 2009, arXiv:1205.2618, section 4).

        out = -log sigmoid(positive - negative)
        dnegative = dout * sigmoid(negative - positive),   dpositive = -dnegative

    Shapes: scores of a liked and of a sampled item, and out, are equal.
    """

    saves = ("positive", "negative")

    @staticmethod
    def forward(positive, negative):
        return _math.run(kernels.bpr_forward, positive, negative), (positive, negative)

    @staticmethod
    def backward(dout, saved, needs):
        positive, negative = saved
        if _math.large(dout):
            flat = [np.ascontiguousarray(a).reshape(-1) for a in (dout, positive, negative)]
            parts = empty(dout.shape, dout.dtype), empty(dout.shape, dout.dtype)
            kernels.bpr_backward(*flat, parts[0].reshape(-1), parts[1].reshape(-1))
            return parts
        dnegative = dout * _math.sigmoid(negative - positive)
        return -dnegative, dnegative

    @classmethod
    def flops(cls, *shapes, **settings):
        """Exponential, logarithm and four more of each pair."""
        return 6 * int(np.prod(shapes[0], dtype=np.int64))
