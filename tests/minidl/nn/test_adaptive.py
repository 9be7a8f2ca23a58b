"""The adaptive softmax: a distribution, and torch's."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn


def test_it_is_a_distribution(rng):
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0, head_bias=True).double()
    x, target = Tensor(rng.standard_normal((7, 8))), rng.integers(0, 20, 7)
    full = layer.log_prob(x).detach().numpy()
    np.testing.assert_allclose(np.exp(full).sum(1), 1.0, rtol=1e-12)
    output, loss = layer(x, Tensor(target))
    np.testing.assert_allclose(output.detach().numpy(), full[np.arange(7), target], rtol=1e-12)
    assert loss.item() == pytest.approx(-full[np.arange(7), target].mean())
    alone, _ = layer(x[0], Tensor(np.array(target[0])))
    assert alone.item() == pytest.approx(full[0, target[0]])


def test_it_is_torchs(rng):
    torch = pytest.importorskip("torch")
    ours = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0).double()
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0).double()
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    x, target = rng.standard_normal((40, 8)) * 3, rng.integers(0, 20, 40)
    mine, peer = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    got, want = ours(mine, Tensor(target)), theirs(peer, torch.tensor(target))
    np.testing.assert_allclose(got.output.detach().numpy(), want.output.detach().numpy(), 1e-10)
    got.loss.backward()
    want.loss.backward()
    for a, b in zip([mine, *ours.parameters()], [peer, *theirs.parameters()]):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(ours.predict(mine).numpy(), theirs.predict(peer).numpy())


@pytest.mark.parametrize("cutoffs", [[], [0], [5, 5], [7, 3], [20], [2.5]])
def test_cutoffs_must_rise(cutoffs):
    with pytest.raises(ValueError, match="must be whole numbers that rise"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs)


def test_mistakes_are_named():
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])
    with pytest.raises(IndexError, match="0 to 19, got 3 to 20"):
        layer(minidl.ones(2, 8), minidl.tensor([3, 20]))
    with pytest.raises(ValueError, match="needs a target"):
        layer(minidl.ones(2, 8), minidl.tensor([3]))
