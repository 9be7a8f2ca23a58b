"""Averages of weights against torch's and by hand."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim
from minidl.optim import swa_utils


def models(torch):
    ours = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    ours[0].register_buffer("count", Tensor(np.array([1.0, 5.0])))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).double()
    theirs[0].register_buffer("count", torch.tensor([1.0, 5.0], dtype=torch.float64))
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


WAYS = {
    "swa": lambda s: {},
    "ema": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.8)},
    "ema, with buffers": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(), "use_buffers": True},
    "ema, one by one": lambda s: {"avg_fn": s.get_ema_avg_fn(0.8)},
    "swa, one by one": lambda s: {"avg_fn": s.get_swa_avg_fn(), "use_buffers": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_averages_are_torchs(way, rng):
    torch = pytest.importorskip("torch")
    ours, theirs = models(torch)
    mine = swa_utils.AveragedModel(ours, **WAYS[way](swa_utils))
    peer = torch.optim.swa_utils.AveragedModel(theirs, **WAYS[way](torch.optim.swa_utils))
    for _ in range(5):
        for value, other in zip(ours.state_dict().values(), theirs.state_dict().values()):
            new = rng.standard_normal(value.shape)
            value.array[...] = new
            other.copy_(torch.tensor(new))
        mine.update_parameters(ours)
        peer.update_parameters(theirs)
    a, b = mine.state_dict(), peer.state_dict()
    assert set(a) == set(b)
    for key, value in b.items():
        np.testing.assert_allclose(a[key].numpy(), value.numpy(), rtol=1e-12, err_msg=key)
    x = rng.standard_normal((2, 3))
    np.testing.assert_allclose(
        mine(minidl.tensor(x)).detach().numpy(), peer(torch.tensor(x)).detach().numpy()
    )
    again = swa_utils.AveragedModel(ours)
    again.load_state_dict(a)
    assert int(again.n_averaged) == 5


def test_by_hand():
    model = nn.Linear(1, 1, bias=False)
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.75))
    swa = swa_utils.AveragedModel(model)
    for value in (4.0, 8.0, 0.0):
        model.weight.array[...] = value
        ema.update_parameters(model)
        swa.update_parameters(model)
    assert ema.module.weight.item() == 0.75 * (0.75 * 4 + 0.25 * 8)
    assert swa.module.weight.item() == 4.0
    assert model.weight.item() == 0.0
    assert ema.module.weight is not model.weight
    assert ema.module.weight.dtype == np.float32


def test_half_and_transposed_weights():
    model = nn.Module()
    model.small = nn.Parameter(Tensor(np.ones((2, 3), np.float16)))
    model.turned = nn.Parameter(Tensor(np.arange(6.0).reshape(2, 3).T))
    model.register_buffer("count", Tensor(np.asarray(4)))
    ema = swa_utils.AveragedModel(
        model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5), use_buffers=True
    )
    ema.update_parameters(model)
    model.small.array[...] = 2
    model.turned.array[...] += 2
    model.count.array[...] = 10
    ema.update_parameters(model)
    assert ema.module.small.dtype == np.float16
    assert (ema.module.small.detach().numpy() == 1.5).all()
    np.testing.assert_array_equal(
        ema.module.turned.detach().numpy(), np.arange(6.0).reshape(2, 3).T + 1
    )
    assert int(ema.module.count) == 7


def test_a_row_sparse_table(rng):
    """The table is stepped by rows; its average is that of the whole table."""
    table = nn.Embedding(9, 2, sparse=True)
    optimizer = optim.SparseAdam(table.parameters(), lr=0.1)
    ema = swa_utils.AveragedModel(table, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    expected = table.weight.detach().numpy().astype(np.float64)
    for step in range(4):
        optimizer.zero_grad()
        (table(minidl.tensor(rng.integers(0, 9, 3))) ** 2).sum().backward()
        optimizer.step()
        ema.update_parameters(table)
        now = table.weight.detach().numpy().astype(np.float64)
        expected = 0.9 * expected + 0.1 * now if step else now
    np.testing.assert_allclose(ema.module.weight.detach().numpy(), expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("anneal_epochs", [0, 1, 10])
def test_swalr_is_torchs(strategy, anneal_epochs):
    torch = pytest.importorskip("torch")
    p = [nn.Parameter(minidl.ones(1)) for _ in range(2)]
    q = [torch.ones(1, requires_grad=True) for _ in range(2)]
    groups = lambda ps: [{"params": ps[:1]}, {"params": ps[1:], "lr": 0.3}]
    mine, peer = optim.SGD(groups(p), lr=0.1), torch.optim.SGD(groups(q), lr=0.1)
    settings = {"anneal_epochs": anneal_epochs, "anneal_strategy": strategy}
    ours = swa_utils.SWALR(mine, [0.02, 0.5], **settings)
    theirs = torch.optim.swa_utils.SWALR(peer, [0.02, 0.5], **settings)
    for _ in range(20):
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-12)
        ours.step()
        theirs.step()
    np.testing.assert_allclose(ours.get_last_lr(), [0.02, 0.5])


def test_update_bn(rng):
    model = nn.Sequential(nn.BatchNorm1d(2)).double().eval()
    batches = [Tensor(rng.standard_normal((5, 2)) + 3) for _ in range(3)]
    for _ in range(2):  # it starts anew each time
        swa_utils.update_bn([(b, None) for b in batches], model)
    norm = model[0]
    means = np.mean([b.array.mean(0) for b in batches], 0)
    variances = np.mean([b.array.var(0, ddof=1) for b in batches], 0)
    np.testing.assert_allclose(norm.running_mean.numpy(), means)
    np.testing.assert_allclose(norm.running_var.numpy(), variances)
    assert not model.training
    assert norm.momentum == 0.1
    swa_utils.update_bn(iter(()), nn.Linear(2, 2))


def test_errors():
    model = nn.Linear(2, 2)
    fn = swa_utils.get_ema_avg_fn()
    with pytest.raises(ValueError, match="not both"):
        swa_utils.AveragedModel(model, avg_fn=fn, multi_avg_fn=fn)
    with pytest.raises(ValueError, match="decay must be from 0 to 1, got 2"):
        swa_utils.get_ema_multi_avg_fn(2)
    with pytest.raises(ValueError, match="not those of the averaged copy"):
        swa_utils.AveragedModel(model).update_parameters(nn.Linear(2, 3))
    o = optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy must be"):
        swa_utils.SWALR(o, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="2 swa_lr for 1 groups"):
        swa_utils.SWALR(o, [0.1, 0.2])
