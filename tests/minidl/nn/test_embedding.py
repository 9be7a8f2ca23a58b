"""Tables of vectors: bags against loops and torch, sparse gradients, a table used twice."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import Tensor, nn
from minidl.sparse import RowSparse


def loop(weight, ids, bounds, mode, factors=None, padding_idx=None):
    """Bag by bag, row by row."""
    out = np.zeros((len(bounds) - 1, weight.shape[1]))
    for b, (start, stop) in enumerate(pairwise(bounds)):
        rows = [
            weight[ids[j]] * (1 if factors is None else factors[j])
            for j in range(start, stop)
            if ids[j] != padding_idx
        ]
        if rows:
            out[b] = {"sum": np.sum, "mean": np.mean, "max": np.max}[mode](rows, axis=0)
    return out


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_bags_of_any_size(mode, data):
    """Empty ones too; the order of ids in a bag does not matter, nor whether 2-D or 1-D."""
    sizes = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    weight, ids = rng.standard_normal((6, 3)), rng.integers(0, 6, sum(sizes))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    padding_idx = data.draw(st.sampled_from([None, 2]))
    factors = rng.standard_normal(len(ids)) if mode == "sum" else None
    options = {"mode": mode, "padding_idx": padding_idx}
    if factors is not None:
        options["per_sample_weights"] = Tensor(factors)
    out = F.embedding_bag(Tensor(ids), Tensor(weight), Tensor(bounds[:-1]), **options)
    known = loop(weight, ids, bounds, mode, factors, padding_idx)
    np.testing.assert_allclose(out.numpy(), known, rtol=1e-12, atol=1e-14)
    options["include_last_offset"] = True
    again = F.embedding_bag(Tensor(ids), Tensor(weight), Tensor(bounds), **options)
    np.testing.assert_array_equal(again.numpy(), out.numpy())
    square = rng.integers(0, 6, (3, 4))
    out = F.embedding_bag(Tensor(square), Tensor(weight), mode=mode, padding_idx=padding_idx)
    known = loop(weight, square.ravel(), [0, 4, 8, 12], mode, None, padding_idx)
    np.testing.assert_allclose(out.numpy(), known, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}])
def test_bags_are_torchs(mode, options, rng):
    torch = pytest.importorskip("torch")
    ours = nn.EmbeddingBag(7, 3, mode=mode, **options).double()
    theirs = torch.nn.EmbeddingBag(7, 3, mode=mode, **options).double()
    assert repr(ours) == repr(theirs)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    ids, offsets = rng.integers(0, 7, 12), np.array([0, 3, 3, 9])
    factor = rng.standard_normal((4, 3))
    out = ours(Tensor(ids), Tensor(offsets))
    known = theirs(torch.tensor(ids), torch.tensor(offsets))
    np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-12)
    (out * Tensor(factor)).sum().backward()
    (known * torch.tensor(factor)).sum().backward()
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_sparse_gradients_are_the_dense_ones(mode, scaled, rng):
    ids, start = rng.integers(0, 50, (4, 6)), rng.standard_normal((50, 3))
    grads = []
    for sparse in (False, True):
        table = nn.EmbeddingBag(50, 3, mode=mode, sparse=sparse, scale_grad_by_freq=scaled)
        table.weight.data = Tensor(start.copy())
        table(Tensor(ids)).pow(2).sum().backward()
        grads.append(table.weight.grad)
    assert isinstance(grads[1], RowSparse)
    assert len(grads[1].rows) == len(np.unique(ids))
    np.testing.assert_allclose(grads[1].to_dense(), grads[0].numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_divided_by_frequency(mode, rng):
    """Each row's by how often the batch holds that row. (torch 2.13 takes another row's count.)"""
    ids = np.array([[0, 0, 1], [0, 3, 1], [2, 2, 2]])
    grads = []
    for scaled in (False, True):
        table = nn.EmbeddingBag(5, 2, mode=mode, scale_grad_by_freq=scaled).double()
        factor = Tensor(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        (table(Tensor(ids)) * factor).sum().backward()
        grads.append(table.weight.grad.numpy())
    often = np.array([3, 2, 3, 1, 1])[:, None]
    np.testing.assert_allclose(grads[1], grads[0] / often, rtol=1e-12)


def test_norms_are_limited_in_place(rng):
    start = rng.standard_normal((6, 3)) * 5
    table = nn.EmbeddingBag.from_pretrained(Tensor(start.copy()), freeze=False, max_norm=1.0)
    table(minidl.tensor([[0, 2], [2, 5]]))
    norms = np.linalg.norm(table.weight.detach().numpy(), axis=1)
    np.testing.assert_allclose(norms[[0, 2, 5]], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(table.weight.detach().numpy()[[1, 3, 4]], start[[1, 3, 4]])


@pytest.mark.parametrize("sparse", [False, True])
def test_tied_weights_get_both_gradients(sparse, rng):
    """A table that reads words and, transposed, scores them: the sum of both parts, dense."""
    table = nn.Embedding(6, 4, sparse=sparse).double()
    out = nn.Linear(4, 6, bias=False).double()
    out.weight = table.weight
    model = nn.Sequential(table, out)
    assert len(list(model.parameters())) == 1
    ids, target = rng.integers(0, 6, 8), rng.integers(0, 6, 8)
    F.cross_entropy(model(Tensor(ids)), Tensor(target)).backward()

    read, score = (Tensor(table.weight.detach().numpy().copy(), True) for _ in range(2))
    logits = F.linear(F.embedding(Tensor(ids), read), score)
    F.cross_entropy(logits, Tensor(target)).backward()
    known = read.grad.numpy() + score.grad.numpy()
    grad = table.weight.grad
    grad = grad.to_dense() if isinstance(grad, RowSparse) else grad.numpy()
    np.testing.assert_allclose(grad, known, rtol=1e-12)
    torch = pytest.importorskip("torch")
    peer = torch.tensor(read.detach().numpy(), requires_grad=True)
    logits = torch.nn.functional.embedding(torch.tensor(ids), peer) @ peer.T
    torch.nn.functional.cross_entropy(logits, torch.tensor(target)).backward()
    np.testing.assert_allclose(grad, peer.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_tied_weights_train(rng):
    """One step moves the table as both uses ask for, and they stay one."""
    table = nn.Embedding(6, 4, sparse=True)
    out = nn.Linear(4, 6, bias=False)
    out.weight = table.weight
    step = minidl.optim.SGD(nn.Sequential(table, out).parameters(), lr=0.5)
    ids = minidl.tensor(rng.integers(0, 6, 16))
    losses = []
    for _ in range(60):
        step.zero_grad()
        loss = F.cross_entropy(out(table(ids)), ids)
        loss.backward()
        step.step()
        losses.append(loss.item())
    assert out.weight is table.weight
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("mode", ["sum", "mean", "max", None])
@pytest.mark.parametrize("sparse", [False, True])
def test_float16_is_a_way_to_store(mode, sparse, rng):
    """Sums are float32's: of 3,000 ones too, where float16 would stop at 2,048."""
    if mode == "max" and sparse:
        pytest.skip("not defined for max")
    settings = {"sparse": sparse} if mode is None else {"sparse": sparse, "mode": mode}
    table = (nn.Embedding if mode is None else nn.EmbeddingBag)(4, 2, **settings).half()
    out = table(Tensor(np.full((3000, 1), 2)))
    out.sum().backward()
    grad = table.weight.grad
    dense = grad.to_dense() if sparse else grad.numpy()
    assert out.dtype == dense.dtype == np.float16
    np.testing.assert_array_equal(dense, np.float16([[0, 0], [0, 0], [3000, 3000], [0, 0]]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda i, w: F.embedding_bag(i, w, minidl.tensor([0])), "offsets go with ids"),
        (lambda i, w: F.embedding_bag(i[0], w), r"with offsets \(B,\)"),
        (lambda i, w: F.embedding_bag(i[0], w, minidl.tensor([1, 2])), "begin with 0"),
        (lambda i, w: F.embedding_bag(i[0], w, minidl.tensor([0, 9])), "nor pass 2 ids"),
        (lambda i, w: F.embedding_bag(i + 9, w), "outside the table of 4 rows"),
        (lambda i, w: F.embedding_bag(i, w, mode="median"), "'sum', 'mean' or 'max'"),
        (lambda i, w: F.embedding_bag(i, w, mode="max", sparse=True), "takes neither"),
        (lambda i, w: F.embedding_bag(i, w, per_sample_weights=w[0]), "need mode 'sum'"),
        (lambda i, w: F.embedding_bag(i, w, mode="sum", per_sample_weights=w[0]), r"\(2, 2\)"),
        (lambda i, w: nn.EmbeddingBag(3, 2, padding_idx=3), "outside 3 rows"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises((ValueError, IndexError), match=message):
        call(minidl.tensor([[0, 1], [2, 3]]), minidl.ones(4, 3))
