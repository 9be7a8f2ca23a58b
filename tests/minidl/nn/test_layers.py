"""Layers and losses against torch's, values and gradients, and by hand."""

import math

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn

ACTIVATIONS = {
    "ReLU": {}, "ReLU6": {}, "LeakyReLU": {"negative_slope": 0.2}, "PReLU": {"num_parameters": 5},
    "ELU": {"alpha": 0.7}, "SELU": {}, "CELU": {"alpha": 0.7}, "GELU": {}, "SiLU": {}, "Mish": {},
    "Sigmoid": {}, "LogSigmoid": {}, "Tanh": {}, "Softplus": {"beta": 2.0, "threshold": 3.0},
    "Softsign": {}, "Hardtanh": {"min_val": -0.5}, "Hardswish": {}, "Hardsigmoid": {},
    "Threshold": {"threshold": 0.1, "value": 7.0}, "Tanhshrink": {}, "Softshrink": {},
    "Hardshrink": {}, "Softmax": {"dim": 1}, "LogSoftmax": {"dim": -1}, "Softmin": {"dim": 0},
    "Flatten": {}, "Unflatten": {"dim": 1, "unflattened_size": (5, 1)}, "Identity": {},
    "LayerNorm": {"normalized_shape": 5}, "RMSNorm": {"normalized_shape": (5,)},
    "Linear": {"in_features": 5, "out_features": 2},
}  # fmt: skip


def both(name, settings):
    """Our layer and torch's, in float64 with the same parameters."""
    torch = pytest.importorskip("torch")
    settings_ours = {k: Tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    known = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
    ours = getattr(nn, name)(**settings_ours).double()
    theirs = getattr(torch.nn, name)(**known).double()
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return torch, ours, theirs


def compare(torch, ours, theirs, inputs):
    """Values, gradients of floating-point inputs and of parameters."""
    mine = [Tensor(a.copy(), a.dtype.kind == "f") for a in inputs]
    peer = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    out, known = ours(*mine), theirs(*peer)
    np.testing.assert_allclose(out.detach().numpy(), known.detach().numpy(), rtol=1e-9, atol=1e-10)
    weight = np.random.default_rng(1).standard_normal(out.shape)
    (out * Tensor(weight)).sum().backward()
    (known * torch.tensor(weight)).sum().backward()
    pairs = [*zip(mine, peer), *zip(ours.parameters(), theirs.parameters())]
    for x, y in pairs:
        if y.grad is not None:  # torch rounds constants such as 1/6 to float32
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=2e-7, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_layers_are_torchs(name, rng):
    compare(*both(name, ACTIVATIONS[name]), [3 * rng.standard_normal((4, 5))])


def test_glu_and_bilinear_and_distances(rng):
    compare(*both("GLU", {"dim": 0}), [rng.standard_normal((4, 5))])
    x, y = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 2))
    settings = {"in1_features": 3, "in2_features": 2, "out_features": 5}
    compare(*both("Bilinear", settings), [x, y])
    compare(*both("CosineSimilarity", {"dim": 1}), [x, x + 1])
    compare(*both("PairwiseDistance", {"p": 3.0, "keepdim": True}), [x, x + 1])


@pytest.mark.filterwarnings("ignore:reduction. .mean. divides")  # torch of its kl_div
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_are_torchs(reduction, rng):
    x, y = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    p, weight = rng.random((6, 4)), rng.random(4) + 0.1
    classes, sign = np.array([0, 3, 1, -100, 2, 3]), np.sign(rng.standard_normal(6))
    known = classes.copy()
    known[3] = 0
    cases = [
        ("MSELoss", {}, [x, y]),
        ("L1Loss", {}, [x, y]),
        ("SmoothL1Loss", {"beta": 0.6}, [x, y]),
        ("HuberLoss", {"delta": 0.6}, [x, y]),
        ("CrossEntropyLoss", {"weight": weight, "label_smoothing": 0.2}, [x, classes]),
        ("NLLLoss", {"weight": weight}, [x, classes]),
        ("BCELoss", {"weight": p}, [p[::-1].copy(), np.round(p)]),
        ("BCEWithLogitsLoss", {"pos_weight": weight, "weight": p}, [x, p]),
        ("KLDivLoss", {}, [x, p]),
        ("KLDivLoss", {"log_target": True}, [x, y]),
        ("GaussianNLLLoss", {"full": True}, [x, y, p]),
        ("PoissonNLLLoss", {"full": True}, [x, np.round(3 * p)]),
        ("MarginRankingLoss", {"margin": 0.3}, [x[:, 0], y[:, 0], sign]),
        ("CosineEmbeddingLoss", {"margin": -0.3}, [x, y, sign.astype(np.int64)]),
        ("HingeEmbeddingLoss", {}, [x[:, 0], sign.astype(np.int64)]),
        ("SoftMarginLoss", {}, [x[:, 0], sign.astype(np.int64)]),
        ("TripletMarginLoss", {"swap": True}, [x, y, p]),
        ("MultiMarginLoss", {"p": 2, "margin": 0.7, "weight": weight}, [x, known]),
        ("MultiLabelSoftMarginLoss", {"weight": weight}, [x, np.round(p)]),
    ]
    for name, settings, inputs in cases:
        torch, ours, theirs = both(name, {**settings, "reduction": reduction})
        mine = [Tensor(a.copy(), i == 0) for i, a in enumerate(inputs)]
        peer = [torch.tensor(a, requires_grad=i == 0) for i, a in enumerate(inputs)]
        out, expected = ours(*mine), theirs(*peer)
        message = f"{name} {settings}"
        np.testing.assert_allclose(
            out.detach().numpy(), expected.detach().numpy(), rtol=1e-9, err_msg=message
        )
        out.sum().backward()
        expected.sum().backward()
        np.testing.assert_allclose(
            mine[0].grad.numpy(), peer[0].grad.numpy(), rtol=1e-8, atol=1e-12, err_msg=message
        )


def t(*values):
    return minidl.tensor(np.array(values))


def test_losses_by_hand():
    assert float(nn.MSELoss()(t(1.0, 3.0), t(0.0, 1.0))) == 2.5
    assert float(nn.L1Loss(reduction="sum")(t(1.0, 3.0), t(0.0, 1.0))) == 3.0
    assert float(nn.HuberLoss(delta=1.0, reduction="sum")(t(0.5, 3.0), t(0.0, 0.0))) == 2.625
    logits = t([0.0, math.log(3.0)], [0.0, 0.0])
    loss = nn.CrossEntropyLoss(reduction="none")(logits, t(1, 0))
    np.testing.assert_allclose(loss.numpy(), [-math.log(0.75), math.log(2.0)])
    weighted = nn.CrossEntropyLoss(weight=t(1.0, 3.0))(logits, t(1, 0))
    assert float(weighted) == pytest.approx((-3 * math.log(0.75) + math.log(2.0)) / 4)
    assert float(nn.CrossEntropyLoss()(logits, t(-100, 0))) == pytest.approx(math.log(2.0))
    assert float(nn.BCELoss()(t(0.25), t(1.0))) == pytest.approx(math.log(4.0))
    assert float(nn.BCEWithLogitsLoss()(t(0.0), t(1.0))) == pytest.approx(math.log(2.0))
    assert float(nn.BPRLoss()(t(2.0, 1.0), t(2.0, 1.0))) == pytest.approx(math.log(2.0))
    assert float(nn.NLLLoss()(t([-1.0, -2.0]), t(1))) == 2.0
    assert float(nn.MSELoss(size_average=False)(t(1.0, 3.0), t(0.0, 1.0))) == 5.0
    kl = nn.KLDivLoss(reduction="batchmean")(
        t([0.5, 0.5], [0.5, 0.5]).log(), t([1.0, 0], [0.5, 0.5])
    )
    assert float(kl) == pytest.approx(math.log(2.0) / 2)


def test_a_loss_has_its_weight_in_its_state():
    loss = nn.CrossEntropyLoss(weight=t(1.0, 3.0))
    assert list(loss.state_dict()) == ["weight"]
    assert loss.float().weight.dtype == np.float32


def test_embedding(rng):
    torch = pytest.importorskip("torch")
    start = rng.standard_normal((6, 3))
    ids = np.array([[1, 2, 2], [0, 5, 1]])
    for settings in ({"padding_idx": 2}, {"max_norm": 0.8}, {"scale_grad_by_freq": True}):
        table = nn.Embedding.from_pretrained(Tensor(start.copy()), freeze=False, **settings)
        peer = torch.nn.Embedding.from_pretrained(torch.tensor(start), freeze=False, **settings)
        compare(torch, table, peer, [ids])
        np.testing.assert_allclose(table.weight.detach().numpy(), peer.weight.detach().numpy())
    assert not nn.Embedding.from_pretrained(Tensor(start)).weight.requires_grad
    assert nn.Embedding(4, 2, padding_idx=-1).weight.detach().numpy()[3].tolist() == [0, 0]
    assert nn.Embedding(4, 2, dtype=minidl.float64).weight.dtype == np.float64


def test_dropout():
    minidl.manual_seed(0)
    layer, x = nn.Dropout(0.25), minidl.ones(200, 200)
    out = layer(x).numpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (out == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x


def test_inplace():
    x = minidl.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert x.tolist() == [0.0, 2.0]
