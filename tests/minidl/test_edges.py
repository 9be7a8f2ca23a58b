"""Numbers at the edge: logits of 1e4, NaN and infinity, nothing, one, and no variance.

Each function is given the same rows in torch, and must put its NaN and infinity in the same places.
Where we differ by intent it stands in EXACT: torch loses the limit there, and we give it.
Overflow in +, -, * and sums is told by NumPy's warnings, as in NumPy; they are off here.
"""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn

inf, nan = np.inf, np.nan
ROWS = np.array(
    [
        [1e4, -1e4, 0.0, -0.0, 1.0, -1.0],
        [inf, 1.0, 2.0, 3.0, -5.0, 0.5],
        [-inf, 1.0, 2.0, 3.0, -5.0, 0.5],
        [nan, 1.0, 2.0, 3.0, 0.25, 0.5],
        [-inf] * 6,
        [inf] * 6,
        [88.0, -88.0, 104.0, -104.0, 710.0, 1e-30],
    ],
    np.float32,
)
ONES = np.ones(6, np.float32)

ELEMENTWISE = [
    "exp", "log", "log1p", "sqrt", "rsqrt", "reciprocal", "sigmoid", "tanh", "abs", "sign",
    "sin", "cos", "erf", "floor", "round", "square", "expm1", "logit", "exp2", "log2", "acos",
    "asin", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "neg", "isnan", "isfinite",
    "isinf", "nan_to_num",
]  # fmt: skip
ACTIVATIONS = [
    "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
    "softsign", "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "tanhshrink",
    "softshrink", "hardshrink",
]  # fmt: skip
ALONG = {  # name: function of library, its nn.functional, x
    "softmax": lambda L, f, x: f.softmax(x, 1),
    "log_softmax": lambda L, f, x: f.log_softmax(x, 1),
    "softmin": lambda L, f, x: f.softmin(x, 1),
    "logsumexp": lambda L, f, x: L.logsumexp(x, 1),
    "sum": lambda L, f, x: x.sum(1),
    "mean": lambda L, f, x: x.mean(1),
    "max": lambda L, f, x: x.max(1)[0],
    "min": lambda L, f, x: x.min(1)[0],
    "amax": lambda L, f, x: x.amax(1),
    "argmax": lambda L, f, x: x.argmax(1),
    "var": lambda L, f, x: x.var(1),
    "std": lambda L, f, x: x.std(1),
    "norm": lambda L, f, x: x.norm(2, 1),
    "prod": lambda L, f, x: x.prod(1),
    "cumsum": lambda L, f, x: x.cumsum(1),
    "cumprod": lambda L, f, x: x.cumprod(1),
    "logcumsumexp": lambda L, f, x: L.logcumsumexp(x, 1),
    "median": lambda L, f, x: x.median(1)[0],
    "sort": lambda L, f, x: x.sort(1)[0],
    "topk": lambda L, f, x: x.topk(2, 1)[0],
    "layer_norm": lambda L, f, x: f.layer_norm(x, (6,)),
    "rms_norm": lambda L, f, x: f.rms_norm(x, (6,)),
    "group_norm": lambda L, f, x: f.group_norm(x, 3),
    "batch_norm": lambda L, f, x: f.batch_norm(x, None, None, training=True),
    "normalize": lambda L, f, x: f.normalize(x),
    "clamp": lambda L, f, x: x.clamp(-2, 2),
    "pow": lambda L, f, x: x**2.5,
    "divide": lambda L, f, x: x / 0.0,
    "where": lambda L, f, x: L.where(x > 0, x, x * 0),
    "minus": lambda L, f, x: x - x,
}
AGAINST_ONES = [
    "maximum", "minimum", "logaddexp", "xlogy", "atan2", "hypot", "fmod", "remainder", "eq",
    "lt",
]  # fmt: skip
LOSSES = {
    "bce": "binary_cross_entropy_with_logits", "mse": "mse_loss", "l1": "l1_loss",
    "huber": "huber_loss", "smooth_l1": "smooth_l1_loss", "soft_margin": "soft_margin_loss",
    "poisson": "poisson_nll_loss",
}  # fmt: skip

# (what, row): there torch gives NaN, or another of several values, and we the limit or the first.
EXACT = {
    ("gelu value", 1), ("gelu value", 5),  # inf, not NaN
    ("hardshrink grad", 3), ("softshrink grad", 3),  # of NaN: any
    ("amax grad", 3),  # of NaN: to it, not NaN to all
    ("topk grad", 4), ("topk grad", 5),  # of equal ones: the first
    ("logsumexp grad", 4), ("logcumsumexp grad", 2), ("logcumsumexp grad", 4),  # 0, not NaN
    ("logcumsumexp grad", 0), ("logcumsumexp grad", 6),  # 6 and 2, not 6.0014 and 2.00006
    ("var grad", 1), ("var grad", 2),  # NaN, not infinity
    ("prod grad", 1), ("prod grad", 2), ("prod grad", 3), ("prod grad", 4), ("prod grad", 5),
    ("bce value", 2), ("bce value", 4),  # inf, not NaN
    ("soft_margin value", 0), ("soft_margin value", 6), ("soft_margin grad", 6),  # 1e4, not inf
    ("soft_margin grad", 0), ("soft_margin grad", 2), ("soft_margin grad", 4),  # -1, not NaN
}  # fmt: skip


def same(name, function):
    """Values, and gradients of the sum, equal torch's row by row, NaN and infinity included."""
    torch = pytest.importorskip("torch")
    results = []
    for library, functional in ((torch, torch.nn.functional), (minidl, F)):
        x = library.tensor(ROWS, requires_grad=True)
        with np.errstate(all="ignore"):
            out = function(library, functional, x)
            found = [np.array(out.detach().numpy())]
            if out.requires_grad:
                out.sum().backward()
                found.append(np.array(x.grad.numpy()))
        results.append(found)
    assert len(results[0]) == len(results[1])
    for what, want, got in zip(("value", "grad"), *results):
        assert want.dtype == got.dtype
        for row in range(len(ROWS)):
            if (f"{name} {what}", row) not in EXACT:
                np.testing.assert_allclose(
                    got[row], want[row], rtol=1e-5, atol=1e-6, err_msg=f"{name} {what}, row {row}"
                )


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_as_torch(name):
    same(name, lambda library, f, x: getattr(library, name)(x))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_as_torch(name):
    same(name, lambda library, f, x: getattr(f, name)(x))


@pytest.mark.parametrize("name", ALONG)
def test_along_an_axis_as_torch(name):
    same(name, ALONG[name])


@pytest.mark.parametrize("name", AGAINST_ONES)
def test_with_a_second_number_as_torch(name):
    same(name, lambda library, f, x: getattr(library, name)(x, library.tensor(ONES)))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_as_torch(name):
    target = np.full(ROWS.shape, 0.3, np.float32)
    if name == "soft_margin":
        target[:] = 1

    def loss(library, f, x):
        return getattr(f, LOSSES[name])(x, library.tensor(target), reduction="none")

    same(name, loss)


# by hand: what must hold without torch


def grad_of(function, *values):
    x = minidl.tensor(np.array(values, np.float32), requires_grad=True)
    function(x).backward()
    return x.grad.tolist()


def test_logits_of_ten_thousand():
    x = np.array([[1e4, -1e4, 0.0]], np.float32)
    loss = F.cross_entropy(minidl.tensor(x), minidl.tensor([1]))
    assert loss.item() == 2e4
    assert F.cross_entropy(minidl.tensor(x), minidl.tensor([0])).item() == 0
    assert grad_of(lambda t: F.cross_entropy(t[None], minidl.tensor([1])), *x[0]) == [1, -1, 0]
    bce = F.binary_cross_entropy_with_logits
    for logit, target, want, slope in ((1e4, 0.0, 1e4, 1), (1e4, 1.0, 0, 0), (-1e4, 1.0, 1e4, -1)):
        t = minidl.tensor(logit, requires_grad=True)
        loss = bce(t, minidl.tensor(target))
        loss.backward()
        assert (loss.item(), t.grad.item()) == (want, slope)
    for logit, target, want in ((inf, 1.0, 0), (inf, 0.0, inf), (-inf, 0.0, 0), (-inf, 0.5, inf)):
        assert bce(minidl.tensor(logit), minidl.tensor(target)).item() == want


def test_a_mask_of_minus_infinity_hides_and_sends_no_nan_back():
    assert grad_of(lambda t: t.softmax(0)[1], 0.0, 0.0, -inf) == [-0.25, 0.25, 0]
    assert grad_of(lambda t: t.logsumexp(0), 0.0, 0.0, -inf) == [0.5, 0.5, 0]
    assert np.isnan(minidl.tensor([-inf, -inf]).softmax(0).numpy()).all()
    assert minidl.tensor([-inf, -inf]).logsumexp(0).item() == -inf


@pytest.mark.parametrize(
    "function",
    [
        lambda x: minidl.where(x > 0, x.sqrt(), 0.0), lambda x: minidl.where(x > 0, x.log(), 0.0),
        lambda x: minidl.where(x > 0, 1 / x, 0.0), lambda x: minidl.where(x > 0, x**0.5, 0.0),
        lambda x: minidl.where(x > 0, x.rsqrt(), 0.0),
    ],
)  # fmt: skip
def test_a_branch_that_was_not_taken_sends_no_nan_back(function):
    with np.errstate(all="ignore"):
        grad = grad_of(lambda x: function(x).sum(), 0.0, 4.0)
    assert grad[0] == 0
    assert np.isfinite(grad[1])


def test_norms_at_zero_have_gradient_zero():
    for p in (1.0, 2.0, 3.0):
        assert grad_of(lambda x, p=p: x.norm(p), 0.0, 0.0) == [0, 0]
    assert grad_of(lambda x: x.std(), 2.0, 2.0, 2.0) == [0, 0, 0]
    assert grad_of(lambda x: F.cosine_similarity(x, minidl.ones(2), 0), 0.0, 0.0)[0] is not nan


LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (4,)),
    "LayerNorm": (lambda: nn.LayerNorm(4), (4,)),
    "RMSNorm": (lambda: nn.RMSNorm(4), (4,)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (4, 3)),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(4), (4,)),
    "InstanceNorm1d": (lambda: nn.InstanceNorm1d(4), (4, 3)),
    "GELU": (nn.GELU, (4,)),
    "Softmax": (lambda: nn.Softmax(1), (4,)),
    "Dropout": (nn.Dropout, (4,)),
    "Dropout1d": (nn.Dropout1d, (4, 3)),
    "Flatten": (nn.Flatten, (4, 3)),
    "Conv1d": (lambda: nn.Conv1d(4, 2, 3), (4, 5)),
    "Conv2d": (lambda: nn.Conv2d(4, 2, 3), (4, 5, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (4, 6, 6)),
    "MultiheadAttention": (lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), (5, 4)),
    "GRU": (lambda: nn.GRU(4, 3, batch_first=True), (5, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_goes_through_and_back(name):
    make, shape = LAYERS[name]
    layer = make()
    x = minidl.zeros(0, *shape, requires_grad=True)
    out = layer(x)
    out = out[0] if isinstance(out, tuple) else out
    one = layer.eval()(minidl.zeros(1, *shape))
    one = one[0] if isinstance(one, tuple) else one
    assert out.shape == (0, *one.shape[1:])
    out.sum().backward()
    assert x.grad.shape == x.shape
    for parameter in layer.parameters():
        assert parameter.grad is None or not parameter.grad.numpy().any()


def test_the_mean_of_nothing_is_nan_and_its_sum_zero():
    empty = minidl.zeros(0, 3)
    assert np.isnan(empty.mean().item())
    assert empty.sum().item() == 0
    assert empty.prod().item() == 1
    assert np.isnan(F.mse_loss(empty, empty).item())
    assert F.mse_loss(empty, empty, reduction="sum").item() == 0
    with pytest.raises((IndexError, RuntimeError, ValueError), match=r"max|empty|size 0"):
        empty.max()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_one_step_is_the_first_of_many(kind, rng):
    minidl.manual_seed(0)
    layer = getattr(nn, kind)(4, 3, batch_first=True)
    x = minidl.tensor(rng.standard_normal((2, 5, 4)).astype(np.float32))
    first, _ = layer(x[:, :1])
    whole, _ = layer(x)
    np.testing.assert_allclose(first.detach().numpy(), whole[:, :1].detach().numpy(), rtol=1e-5)


def test_attention_of_one_step_is_its_value(rng):
    q, k, v = (minidl.tensor(a) for a in rng.standard_normal((3, 2, 1, 4)))
    np.testing.assert_allclose(F.scaled_dot_product_attention(q, k, v).numpy(), v.numpy())


def test_no_variance():
    x = np.full((4, 6), 1e4, np.float32)
    for norm in (
        lambda t: F.layer_norm(t, (6,)), lambda t: F.batch_norm(t, None, None, training=True),
        lambda t: F.group_norm(t, 2), lambda t: F.layer_norm(t, (6,), eps=1e-12),
    ):  # fmt: skip
        t = minidl.tensor(x, requires_grad=True)
        out = norm(t)
        assert not out.detach().numpy().any()
        (out * minidl.arange(24.0).reshape(4, 6)).sum().backward()
        assert np.isfinite(t.grad.numpy()).all()
    assert minidl.tensor(x).var().item() == 0
