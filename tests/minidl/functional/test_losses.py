"""Losses against torch where it is installed and by hand; at their edges; their errors."""

import math

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from tests.oracles.torch_twin import Constant, compare

REDUCTIONS = ("none", "mean", "sum")


def named(name):
    return f"nn.functional.{name}"


@pytest.mark.filterwarnings("ignore:reduction")  # torch's, of kl_div
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mse_loss", {}),
        ("l1_loss", {}),
        ("smooth_l1_loss", {"beta": 0.5}),
        ("smooth_l1_loss", {"beta": 0.0}),
        ("huber_loss", {"delta": 0.7}),
        ("poisson_nll_loss", {}),
        ("poisson_nll_loss", {"log_input": True, "full": True}),
        ("kl_div", {"log_target": True}),
        ("binary_cross_entropy_with_logits", {}),
    ],
)
def test_of_pairs_as_torch(rng, name, settings, reduction):
    x, t = rng.standard_normal((3, 4)), rng.uniform(0.1, 3.0, (3, 4))
    if name.startswith("binary"):
        t = t / 3
    compare(named(name), x, t, reduction=reduction, **settings)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_with_weights_as_torch(rng, name, reduction):
    x, t = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    weight = rng.uniform(0.5, 2.0, (3, 4))
    found = getattr(F, name)(*map(minidl.tensor, (x, t)), reduction=reduction,
                             weight=minidl.tensor(weight)).numpy()  # fmt: skip
    plain = getattr(F, name)(*map(minidl.tensor, (x, t)), reduction="none").numpy()
    want = plain * weight
    if reduction != "none":
        # torch 2.13: huber_loss's mean is over the elements, that of the others over the weights
        count = weight.size if name == "huber_loss" else weight.sum()
        want = want.sum() / (count if reduction == "mean" else 1)
    np.testing.assert_allclose(found, want)


SHAPES = (((4, 3), (4,)), ((4, 3, 2), (4, 2)), ((2, 3, 2, 5), (2, 2, 5)), ((3,), ()))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "target_shape"), SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_as_torch(rng, shape, target_shape, smoothing, weighted, reduction):
    target = np.asarray(rng.integers(0, 3, target_shape))
    if target.ndim:
        target.reshape(-1)[0] = 1
        target.reshape(-1)[-1] = -7
    compare(
        named("cross_entropy"), rng.standard_normal(shape), target, reduction=reduction,
        ignore_index=-7, label_smoothing=smoothing,
        **({"weight": Constant(rng.uniform(0.5, 2, 3))} if weighted else {}),
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "target_shape"), SHAPES)
def test_nll_loss_as_torch(rng, shape, target_shape, reduction):
    target = np.asarray(rng.integers(0, 3, target_shape))
    weight = Constant(rng.uniform(0.5, 2, 3))
    x = rng.standard_normal(shape)
    compare(named("nll_loss"), x, target, weight, reduction=reduction, ignore_index=2, order=1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_probabilities_as_torch(rng, smoothing, reduction):
    for shape in ((4, 3), (4, 3, 2), (3,)):
        target = rng.uniform(0, 1, shape)
        weight = Constant(rng.uniform(0.5, 2, 3))
        settings = {"reduction": reduction, "label_smoothing": smoothing, "weight": weight}
        compare(named("cross_entropy"), rng.standard_normal(shape), target, **settings)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_as_torch(rng, reduction):
    x, p, t = rng.standard_normal((3, 4)), rng.uniform(0.1, 0.9, (3, 4)), rng.uniform(0, 1, (3, 4))
    weight, positive = Constant(rng.uniform(0.5, 2, (3, 4))), Constant(rng.uniform(0.5, 2, 4))
    compare(named("binary_cross_entropy"), p, t, weight, reduction=reduction)
    compare(
        named("binary_cross_entropy_with_logits"), x, t, weight, pos_weight=positive,
        reduction=reduction,
    )  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_margins_as_torch(rng, reduction):
    a, b, c = (rng.standard_normal((5, 4)) for _ in range(3))
    signs = rng.choice([-1, 1], (5, 4))
    settings = {"reduction": reduction}
    compare(named("hinge_embedding_loss"), a, signs, 0.7, **settings)
    compare(named("margin_ranking_loss"), a, b, signs, 0.3, **settings)
    compare(named("soft_margin_loss"), a, signs, **settings)
    compare(named("cosine_embedding_loss"), a, b, signs[:, 0], 0.2, **settings)
    compare(named("triplet_margin_loss"), a, b, c, 0.5, **settings)
    compare(named("triplet_margin_loss"), a, b, c, swap=True, p=1.5, **settings)
    labels = Constant(rng.integers(0, 2, (5, 4)).astype(float))
    weight = Constant(rng.uniform(0.5, 2, 4))
    compare(named("multilabel_soft_margin_loss"), a, labels, weight, **settings)
    for p in (1, 2):
        compare(
            named("multi_margin_loss"), a, rng.integers(0, 4, 5), p, 0.8, weight, order=1,
            **settings,
        )  # fmt: skip
    for var in (rng.uniform(0.5, 2, (5, 4)), rng.uniform(0.5, 2, (5, 1)), rng.uniform(0.5, 2, 5)):
        compare(named("gaussian_nll_loss"), a, b, var, full=True, **settings)


def test_kl_div_batchmean(rng):
    x, t = rng.standard_normal((3, 4)), rng.uniform(0, 1, (3, 4))
    t[0, 0] = 0
    compare(named("kl_div"), x, Constant(t), reduction="batchmean")


def test_distances_as_torch(rng):
    zero = minidl.tensor(np.zeros(3), requires_grad=True)
    F.cosine_similarity(zero, minidl.tensor([1.0, 2.0, 3.0]), 0).backward()
    assert np.isfinite(zero.grad.numpy()).all()
    x, y = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5))
    for dim in (0, 1, -1):
        compare(named("cosine_similarity"), x, y, dim)
    compare(named("cosine_similarity"), x[:1], y[:, :1], -2)
    for p in (1.0, 2.0, 3.0, math.inf):
        compare(named("pairwise_distance"), x, y, p, order=1)


def test_by_hand():
    """Small numbers, worked out on paper."""
    x, t = minidl.tensor([0.0, 1.0, 4.0]), minidl.tensor([0.0, 3.0, 1.0])
    assert F.mse_loss(x, t).item() == pytest.approx((0 + 4 + 9) / 3)
    assert F.l1_loss(x, t).item() == pytest.approx(5 / 3)
    assert F.huber_loss(x, t, "none").tolist() == [0, 1.5, 2.5]
    scaled = F.huber_loss(x, t, weight=minidl.tensor([3.0, 2.0, 1.0]))  # torch's own value
    assert scaled.item() == pytest.approx(5.5 / 3)
    assert F.smooth_l1_loss(x, t, reduction="none", beta=2.0).tolist() == [0, 1, 2]
    logits = minidl.tensor([[0.0, math.log(3.0)]])
    assert F.cross_entropy(logits, minidl.tensor([1])).item() == pytest.approx(math.log(4 / 3))
    weights = minidl.tensor([1.0, 3.0])
    two = minidl.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]])
    want = (3 * math.log(4 / 3) + math.log(4)) / 4
    assert F.cross_entropy(two, minidl.tensor([1, 0]), weights).item() == pytest.approx(want)
    assert F.nll_loss(logits, minidl.tensor([1])).item() == pytest.approx(-math.log(3.0))
    half = minidl.tensor([0.5, 0.25])
    bce = F.binary_cross_entropy(half, minidl.tensor([1.0, 0.0]), reduction="none")
    np.testing.assert_allclose(bce.numpy(), [math.log(2), math.log(4 / 3)], rtol=1e-6)
    signs = minidl.tensor([1, -1, -1])
    assert F.hinge_embedding_loss(x, signs, 2.0, reduction="none").tolist() == [0, 1, 0]
    assert F.margin_ranking_loss(x, t, signs, 0.5, reduction="none").tolist() == [0.5, 0, 3.5]
    assert F.multi_margin_loss(x, minidl.tensor(1)).item() == pytest.approx((0 + 4) / 3)


def test_bpr_by_hand():
    """-log sigmoid(1) = 0.31326, -log sigmoid(-2) = 2.12693."""
    positive = minidl.tensor([2.0, 0.0], requires_grad=True)
    negative = minidl.tensor([1.0, 2.0], requires_grad=True)
    loss = F.bpr_loss(positive, negative, "none")
    np.testing.assert_allclose(loss.detach().numpy(), [0.313262, 2.126928], rtol=1e-5)
    loss.sum().backward()
    np.testing.assert_allclose(negative.grad.numpy(), [0.268941, 0.880797], rtol=1e-5)
    np.testing.assert_allclose(positive.grad.numpy(), [-0.268941, -0.880797], rtol=1e-5)
    several = F.bpr_loss(positive.reshape(2, 1), minidl.tensor(np.zeros((2, 3), np.float32)))
    assert several.shape == ()
    with pytest.raises(ValueError, match="do not broadcast"):
        F.bpr_loss(positive, minidl.tensor([1.0, 2.0, 3.0]))


def test_bpr_large_as_small(rng):
    """From 1024 elements on a kernel computes the same."""
    p, n = (rng.standard_normal(3000) for _ in range(2))
    x, y = (minidl.tensor(a, requires_grad=True) for a in (p, n))
    F.bpr_loss(x, y, "sum").backward()
    np.testing.assert_allclose(y.grad.numpy(), 1 / (1 + np.exp(p - n)), rtol=1e-10)
    np.testing.assert_allclose(x.grad.numpy(), -y.grad.numpy())


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_extreme_logits_stay_finite(size):
    x = minidl.tensor([[size, -size], [-size, size]], requires_grad=True)
    total = F.cross_entropy(x, minidl.tensor([0, 0]), reduction="none")
    np.testing.assert_allclose(total.tolist(), [0, 2 * size], atol=1e-40)
    signs = minidl.tensor([[1.0, 0.0], [1.0, 0.0]])
    bce = F.binary_cross_entropy_with_logits(x, signs, reduction="none")
    np.testing.assert_allclose(bce.tolist(), [[0, 0], [size, size]], atol=1e-40)
    weighted = F.binary_cross_entropy_with_logits(
        x, signs, reduction="none", pos_weight=minidl.tensor([2.0, 2.0])
    )
    np.testing.assert_allclose(weighted.tolist(), [[0, 0], [2 * size, size]], atol=1e-40)
    soft = F.soft_margin_loss(x, 2 * signs - 1, reduction="none")
    np.testing.assert_allclose(soft.tolist(), [[0, 0], [size, size]], atol=1e-40)
    pair = F.bpr_loss(x[:, 0], x[:, 1], "none")
    np.testing.assert_allclose(pair.tolist(), [0, 2 * size], atol=1e-40)
    (total.sum() + bce.sum() + weighted.sum() + soft.sum() + pair.sum()).backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_binary_cross_entropy_at_0_and_1():
    p = minidl.tensor([0.0, 1.0, 0.0, 1.0], requires_grad=True)
    loss = F.binary_cross_entropy(p, minidl.tensor([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert loss.tolist() == [0, 0, 100, 100]
    loss.sum().backward()
    assert np.isfinite(p.grad.numpy()).all()


def test_all_targets_ignored():
    """The mean over nothing is NaN, as in torch; a sum is 0; no gradient is NaN where it is 0."""
    x = minidl.tensor(np.ones((2, 3)), requires_grad=True)
    target = minidl.tensor([-100, -100])
    assert math.isnan(F.cross_entropy(x, target).item())
    assert F.cross_entropy(x, target, reduction="sum").item() == 0
    F.cross_entropy(x, target, reduction="sum").backward()
    assert not x.grad.numpy().any()
    assert math.isnan(F.nll_loss(x, target).item())


def test_no_rows():
    x = minidl.tensor(np.zeros((0, 3), np.float32))
    none = minidl.tensor(np.zeros(0, np.int64))
    assert math.isnan(F.cross_entropy(x, none).item())
    assert F.cross_entropy(x, none, reduction="sum").item() == 0
    assert math.isnan(F.mse_loss(x, x).item())
    assert F.mse_loss(x, x, reduction="none").shape == (0, 3)


def test_cross_entropy_equals_its_parts(rng):
    x = minidl.tensor(rng.standard_normal((6, 4)))
    target = minidl.tensor(rng.integers(0, 4, 6))
    want = F.nll_loss(F.log_softmax(x, 1), target)
    np.testing.assert_allclose(F.cross_entropy(x, target).numpy(), want.numpy())


def test_float32_stays_float32(rng):
    x = minidl.tensor(rng.standard_normal((4, 3)), dtype=minidl.float32)
    classes, weight = minidl.tensor([0, 1, 2, 0]), minidl.tensor([1.0, 2.0, 3.0])
    for loss in (
        F.cross_entropy(x, classes, weight),
        F.nll_loss(x, classes, weight),
        F.multi_margin_loss(x, classes, weight=weight),
        F.huber_loss(x, x * 2),
        F.gaussian_nll_loss(x, x * 2, x.abs() + 1, full=True),
        F.poisson_nll_loss(x, x.abs() * 3, full=True),
        F.kl_div(x, x.softmax(1), reduction="batchmean"),
        F.triplet_margin_loss(x, x * 2, x * 3),
        F.cosine_embedding_loss(x, x * 2, minidl.tensor([1, -1, 1, -1])),
    ):
        assert loss.dtype == np.float32


def test_older_arguments_are_heard(rng):
    x, t = minidl.tensor([1.0, 2.0]), minidl.tensor([0.0, 0.0])
    assert F.mse_loss(x, t, size_average=False).item() == 5
    assert F.mse_loss(x, t, reduce=False).tolist() == [1, 4]
    assert F.mse_loss(x, t, True).item() == 2.5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: F.mse_loss(x, x[:, :2]), ValueError, r"mse_loss: input \(4, 3\).*\(4, 2\)"),
        (lambda x, y: F.mse_loss(x, x, reduction="avg"), ValueError, "'mean', 'sum' or 'none'"),
        (lambda x, y: F.huber_loss(x, x, delta=0), ValueError, "delta must be positive"),
        (lambda x, y: F.smooth_l1_loss(x, x, beta=-1), ValueError, "beta must not be negative"),
        (lambda x, y: F.cross_entropy(x, y[:2]), ValueError, r"needs target classes \(4,\)"),
        (lambda x, y: F.cross_entropy(x, y + 3), IndexError, "outside 0 to 2"),
        (lambda x, y: F.cross_entropy(x, y > 0), TypeError, "integers"),
        (lambda x, y: F.cross_entropy(x, x[:2]), ValueError, "probabilities"),
        (lambda x, y: F.cross_entropy(x, y, x[0, :2]), ValueError, r"weight must be \(3,\)"),
        (lambda x, y: F.cross_entropy(x, y, label_smoothing=2), ValueError, "label_smoothing"),
        (lambda x, y: F.binary_cross_entropy(x * 0 + 2, x), ValueError, "from 0 to 1"),
        (lambda x, y: F.binary_cross_entropy(x, x[0]), ValueError, "shape"),
        (lambda x, y: F.binary_cross_entropy_with_logits(x, x[0]), ValueError, "shape"),
        (lambda x, y: F.gaussian_nll_loss(x, x, x * 0 - 1), ValueError, "negative"),
        (lambda x, y: F.gaussian_nll_loss(x, x, x[:2] * 0), ValueError, r"var must be \(4, 3\)"),
        (lambda x, y: F.multi_margin_loss(x, y, p=3), ValueError, "p must be 1 or 2"),
        (lambda x, y: F.cosine_embedding_loss(x, x, x), ValueError, r"need a target \(4,\)"),
        (lambda x, y: F.multilabel_soft_margin_loss(x, x[0]), ValueError, "one shape"),
        (lambda x, y: F.triplet_margin_loss(x, x, x[0]), ValueError, "as many axes"),
        (lambda x, y: F.l1_loss(x, x, weight=x[:, :2]), ValueError, "weight"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(minidl.tensor(np.full((4, 3), 0.5)), minidl.tensor([0, 1, 2, 0]))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("frozen", [None, "input", "linear_weight"])
def test_linear_cross_entropy_is_torchs_cross_entropy_of_linear(rng, reduction, frozen):
    torch = pytest.importorskip("torch")
    x, table = rng.standard_normal((7, 5)), rng.standard_normal((40, 5))
    bias, weight = rng.standard_normal(40), rng.uniform(0.5, 2.0, 40)
    target = np.array([3, -100, 39, 0, 3, -100, 20])
    settings = {"reduction": reduction, "label_smoothing": 0.1}
    ours = [minidl.tensor(a, requires_grad=True) for a in (x, table, bias)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, table, bias)]
    if frozen:
        ours[frozen == "linear_weight"].requires_grad = False
    found = F.linear_cross_entropy(
        ours[0], ours[1], minidl.tensor(target), linear_bias=ours[2], weight=minidl.tensor(weight),
        **settings,
    )  # fmt: skip
    logits = torch.nn.functional.linear(*theirs)
    expected = torch.nn.functional.cross_entropy(
        logits, torch.tensor(target), torch.tensor(weight), **settings
    )
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12)
    pull = rng.standard_normal(found.shape)
    found.backward(minidl.tensor(pull))
    expected.backward(torch.tensor(pull))
    for mine, peer in zip(ours, theirs):
        if mine.requires_grad:
            np.testing.assert_allclose(mine.grad.numpy(), peer.grad.numpy(), rtol=1e-9, atol=1e-14)
        else:
            assert mine.grad is None


def test_linear_cross_entropy_of_what_the_op_does_not_take(rng):
    """One row; several targets a row; shares; more features than classes: linear, then the loss."""
    x, table = minidl.tensor(rng.standard_normal((3, 4))), minidl.tensor(rng.random((6, 4)))
    target = minidl.tensor(np.array([1, 5, 0]))
    logits, loss = F.linear(x, table), F.linear_cross_entropy
    every = F.cross_entropy(logits, target, reduction="none")
    assert loss(x, table, target, reduction="none").tolist() == pytest.approx(every.tolist())
    one = loss(x[1], table, target[1], reduction="none")
    assert one.shape == ()
    assert float(one) == pytest.approx(float(every[1]))
    shares = logits.softmax(1)
    of_shares = F.cross_entropy(logits, shares)
    assert float(loss(x, table, shares)) == pytest.approx(float(of_shares))
    wide, both = table.reshape(2, 3, 4), minidl.tensor(rng.integers(0, 2, (3, 3)))
    expected = F.cross_entropy(logits.reshape(3, 2, 3), both)
    assert float(loss(x, wide, both)) == pytest.approx(float(expected))
    few = F.cross_entropy(logits[:, :2], both[:, 0])
    assert float(loss(x, table[:2], both[:, 0])) == pytest.approx(float(few))
    assert math.isnan(float(loss(x, table, minidl.tensor(np.full(3, -100)))))  # 0 / 0, as torch's


def test_linear_cross_entropy_twice_from_one_graph(rng):
    """The gradients that forward made are not used up by a backward."""
    x = minidl.tensor(rng.standard_normal((4, 3)), requires_grad=True)
    table = minidl.tensor(rng.standard_normal((9, 3)), requires_grad=True)
    loss = F.linear_cross_entropy(x, table, minidl.tensor(np.array([0, 8, 2, 2])))
    loss.backward(retain_graph=True)
    once = table.grad.numpy().copy()
    (3 * loss).backward()
    np.testing.assert_allclose(table.grad.numpy(), 4 * once, rtol=1e-12)


def test_linear_cross_entropy_says_what_does_not_fit(rng):
    x, table = minidl.tensor(rng.standard_normal((3, 4))), minidl.tensor(rng.random((6, 4)))
    target, loss = minidl.tensor(np.array([1, 5, 0])), F.linear_cross_entropy
    with pytest.raises(ValueError, match=r"linear_weight \(K, ..., D\), got \(3, 4\) and \(6, 3\)"):
        loss(x, table[:, :3], target)
    with pytest.raises(IndexError, match="target 6 at place 1 is outside 0 to 5"):
        loss(x, table, minidl.tensor(np.array([1, 6, 0])))
    with pytest.raises(ValueError, match="ignore_index"):
        loss(x, table, F.linear(x, table).softmax(1), ignore_index=0)
    with pytest.raises(ValueError, match=r"linear_bias must be \(6,\), got \(5,\)"):
        loss(x, table, target, linear_bias=minidl.tensor(rng.random(5)))
    with pytest.raises(ValueError, match=r"needs target classes \(3,\), got \(2,\)"):
        loss(x, table, target[:2])
