"""Pruning against torch's masks and by hand; batch norms folded into the layer before."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim
from minidl.nn.utils import prune

WAYS = {
    "l1, share": [lambda p, m: p.l1_unstructured(m, "weight", 0.3)],
    "l1, count": [lambda p, m: p.l1_unstructured(m, "weight", 7)],
    "l1 twice": [
        lambda p, m: p.l1_unstructured(m, "weight", 0.3),
        lambda p, m: p.l1_unstructured(m, "weight", 0.5),
    ],
    "channels": [lambda p, m: p.ln_structured(m, "weight", 0.5, n=2, dim=0)],
    "channels twice": [
        lambda p, m: p.ln_structured(m, "weight", 1, n=1, dim=1),
        lambda p, m: p.ln_structured(m, "weight", 2, n=float("inf"), dim=-2),
    ],
    "both": [
        lambda p, m: p.ln_structured(m, "weight", 0.25, n=2, dim=0),
        lambda p, m: p.l1_unstructured(m, "weight", 4),
        lambda p, m: p.identity(m, "weight"),
    ],
    "identity": [lambda p, m: p.identity(m, "bias")],
}


def pair(torch):
    ours, theirs = nn.Linear(6, 4).double(), torch.nn.Linear(6, 4).double()
    ours.load_state_dict({k: Tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def assert_same_state(ours, theirs):
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    for key, value in b.items():
        np.testing.assert_array_equal(a[key].numpy(), value.numpy(), err_msg=key)


@pytest.mark.parametrize("way", WAYS)
def test_masks_are_torchs(way, rng):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    ours, theirs = pair(torch)
    for one in WAYS[way]:
        one(prune, ours)
        one(torch.nn.utils.prune, theirs)
        assert_same_state(ours, theirs)
    x = rng.standard_normal((3, 6))
    out, known = ours(minidl.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-12)
    (out**2).sum().backward()
    (known**2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-13)
    name = "bias" if way == "identity" else "weight"
    assert prune.is_pruned(nn.Sequential(ours))
    prune.remove(ours, name)
    torch.nn.utils.prune.remove(theirs, name)
    assert_same_state(ours, theirs)
    assert not prune.is_pruned(ours)


def test_pruned_elements_stay_zero():
    layer = nn.Linear(6, 4)
    prune.l1_unstructured(layer, "weight", 0.5)
    gone = layer.weight_mask.numpy() == 0
    assert gone.sum() == 12
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (layer(minidl.ones(2, 6)) ** 2).sum().backward()
        optimizer.step()
    layer(minidl.ones(2, 6))
    assert (layer.weight.detach().numpy()[gone] == 0).all()
    assert (layer.weight_orig.grad.numpy()[gone] == 0).all()
    prune.remove(layer, "weight")
    assert (layer.weight.detach().numpy() == 0).sum() == 12
    assert isinstance(layer.weight, nn.Parameter)


def test_random_ones():
    minidl.manual_seed(0)
    layer = nn.Linear(10, 10)
    prune.random_unstructured(layer, "weight", 0.3)
    assert (layer.weight_mask.numpy() == 0).sum() == 30
    prune.random_unstructured(layer, "weight", 0.5)
    assert (layer.weight_mask.numpy() == 0).sum() == 30 + 35
    rows = nn.Linear(10, 10)
    prune.random_structured(rows, "weight", 3, dim=0)
    dead = (rows.weight_mask.numpy() == 0).all(1)
    assert dead.sum() == 3
    assert (rows.weight_mask.numpy()[~dead] == 1).all()


def test_by_hand():
    layer = nn.Linear(3, 1, bias=False)
    layer.weight.array[...] = [[3.0, -1.0, 2.0]]
    prune.l1_unstructured(layer, "weight", 1)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), [[3, 0, 2]])
    prune.custom_from_mask(layer, "weight", minidl.tensor([[0, 1, 1]]))
    np.testing.assert_array_equal(layer.weight_mask.numpy(), [[0, 0, 1]])
    scores = nn.Linear(3, 1)
    prune.l1_unstructured(scores, "weight", 2, importance_scores=minidl.tensor([[0.0, 5.0, 0.1]]))
    np.testing.assert_array_equal(scores.weight_mask.numpy(), [[0, 1, 0]])
    out = prune.L1Unstructured(amount=1).prune(minidl.tensor([1.0, -0.5, 2.0]))
    np.testing.assert_array_equal(out.numpy(), [1, 0, 2])


def test_all_tensors_at_once(rng):
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.nn.utils.prune")
    ours, theirs = zip(*(pair(torch) for _ in range(2)))
    for lib, models in ((prune, ours), (torch.nn.utils.prune, theirs)):
        places = [(m, "weight") for m in models]
        lib.global_unstructured(places, pruning_method=lib.L1Unstructured, amount=0.4)
        lib.global_unstructured(places, pruning_method=lib.L1Unstructured, amount=5)
    for a, b in zip(ours, theirs):
        assert_same_state(a, b)
    zeros = sum((m.weight_mask.numpy() == 0).sum() for m in ours)
    assert zeros == round(0.4 * 48) + 5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: prune.l1_unstructured(m, "wait", 1), ValueError, "no parameter 'wait'"),
        (lambda m: prune.l1_unstructured(m, "weight", 1.5), ValueError, "must be from 0 to 1"),
        (lambda m: prune.l1_unstructured(m, "weight", -1), ValueError, "a share from 0 to 1 or a"),
        (lambda m: prune.l1_unstructured(m, "weight", 7), ValueError, "7 is more than the 6 elem"),
        (lambda m: prune.ln_structured(m, "bias", 1, 2, 0), ValueError, "two axes or more"),
        (lambda m: prune.ln_structured(m, "weight", 1, 2, 5), IndexError, "dim 5 of a tensor"),
        (lambda m: prune.custom_from_mask(m, "weight", minidl.ones(3)), ValueError, "the mask"),
        (lambda m: prune.remove(m, "weight"), ValueError, "is not pruned"),
        (
            lambda m: prune.global_unstructured([(m, "weight")], prune.LnStructured, amount=1, n=2),
            TypeError,
            "an unstructured method is needed",
        ),
    ],
)
def test_errors(make, error, message):
    layer = nn.Linear(3, 2)
    with pytest.raises(error, match=message):
        make(layer)
    layer(minidl.ones(1, 3))


FUSED = {
    "conv": (lambda n: n.Conv2d(2, 4, 3), lambda n: n.BatchNorm2d(4), (2, 2, 5, 5), {}),
    "without bias": (
        lambda n: n.Conv1d(2, 4, 3, bias=False), lambda n: n.BatchNorm1d(4), (2, 2, 7), {},
    ),
    "plain norm": (
        lambda n: n.Conv1d(2, 4, 3), lambda n: n.BatchNorm1d(4, affine=False), (2, 2, 7), {},
    ),
    "transposed": (
        lambda n: n.ConvTranspose1d(2, 4, 3), lambda n: n.BatchNorm1d(4), (2, 2, 7),
        {"transpose": True},
    ),
    "linear": (lambda n: n.Linear(3, 4), lambda n: n.BatchNorm1d(4), (5, 3), None),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused_batch_norm(name, rng):
    make, norm, shape, settings = FUSED[name]
    layer, bn = make(nn).double(), norm(nn).double()
    x = minidl.tensor(rng.standard_normal(shape))
    for _ in range(3):
        bn(layer(x))
    for p in bn.parameters():
        p.array[...] = rng.standard_normal(p.shape)
    layer.eval()
    bn.eval()
    if settings is None:
        fused = nn.utils.fuse_linear_bn_eval(layer, bn)
    else:
        fused = nn.utils.fuse_conv_bn_eval(layer, bn, **settings)
    expected = bn(layer(x)).detach().numpy()
    np.testing.assert_allclose(fused(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)
    assert fused is not layer
    layer.train()
    with pytest.raises(RuntimeError, match="call eval"):
        nn.utils.fuse_conv_bn_eval(layer, bn)
