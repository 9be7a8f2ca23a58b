"""int8 weights: errors within the bounds that the steps give, and the same state after a file."""

import numpy as np
import pytest

import minidl
from minidl import nn, quantize


def model():
    minidl.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


def test_rounding_is_within_half_a_step(rng):
    weight = rng.standard_normal((5, 30)).astype(np.float32) * np.logspace(-3, 3, 5)[:, None]
    q, step = quantize.quantized(weight)
    error = np.abs(quantize.dequantized(q, step) - weight)
    assert (error <= step[:, None] * 0.5001).all()
    assert q.dtype == np.int8
    assert (np.abs(q).max(axis=1) == 127).all()  # each row uses the whole range
    q, step = quantize.quantized(np.zeros((2, 3)))
    assert not q.any()
    assert not step.any()


@pytest.mark.parametrize("batch", [0, 1, 3, 31, 32, 200])
def test_linear_is_within_its_bound(batch, rng):
    layer = nn.Linear(50, 20)
    small = quantize.QuantizedLinear(layer)
    x = (rng.standard_normal((batch, 50)) * 3).astype(np.float32)
    got = small(minidl.tensor(x)).numpy()
    weight = layer.weight.detach().numpy().astype(np.float64)
    want = x @ weight.T + layer.bias.detach().numpy()
    w_step = np.abs(weight).max(axis=1) / 127
    x_step = np.abs(x).max(axis=1, initial=0)[:, None] / 127
    bound = x_step / 2 * np.abs(weight).sum(1) + (np.abs(x).sum(1)[:, None] + 25 * x_step) * w_step
    assert (np.abs(got - want) <= bound + 1e-5).all()
    if batch:
        assert np.abs(got - want).max() < 0.02 * np.abs(want).max()


def test_what_becomes_of_a_sample_does_not_depend_on_its_batch(rng):
    small = quantize.QuantizedLinear(nn.Linear(50, 20))
    x = minidl.tensor(rng.standard_normal((100, 50)).astype(np.float32))
    alone = np.concatenate([small(x[i : i + 1]).numpy() for i in range(100)])
    np.testing.assert_allclose(small(x).numpy(), alone, rtol=1e-5, atol=1e-6)


def test_layers_are_replaced_in_a_copy(rng):
    full = model()
    small = quantize.quantize_dynamic(full)
    assert type(full[0]) is nn.Linear
    assert type(small[0]) is type(small[2]) is quantize.QuantizedLinear
    x = minidl.tensor(rng.standard_normal((16, 40)).astype(np.float32))
    report = quantize.compare(full, small, x)
    assert [layer.path for layer in report.layers] == ["0", "2"]
    assert report.output.relative < 0.03
    assert report.output.bytes_after < 0.35 * report.output.bytes_before
    assert "Linear" in str(report)
    only = quantize.quantize_dynamic(full, {"2"})
    assert type(only[0]) is nn.Linear
    assert type(only[2]) is quantize.QuantizedLinear


def test_state_goes_through_a_file(tmp_path, rng):
    small = quantize.quantize_dynamic(model())
    assert {str(v.dtype) for v in small.state_dict().values()} == {"int8", "float32"}
    minidl.save(small.state_dict(), tmp_path / "small")
    other = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 10))
    other = quantize.quantize_dynamic(other)
    other.load_state_dict(minidl.load(tmp_path / "small"))
    x = minidl.tensor(rng.standard_normal((4, 40)).astype(np.float32))
    assert other(x).tolist() == small(x).tolist()


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers(kind, rng):
    layer = kind(12, 16, num_layers=2, bidirectional=True).eval()
    small = quantize.quantize_dynamic(layer)
    x = minidl.tensor(rng.standard_normal((7, 3, 12)).astype(np.float32))
    with minidl.no_grad():
        want, got = layer(x), small(x)
    assert got[0].shape == want[0].shape
    assert np.abs(got[0].numpy() - want[0].numpy()).max() < 0.02
    sizes = [sum(t.nbytes for t in m.state_dict().values()) for m in (layer, small)]
    assert sizes[1] < 0.4 * sizes[0]
    small.load_state_dict(small.state_dict())


def test_embedding(rng):
    table = nn.Embedding(30, 8, padding_idx=0)
    small = quantize.quantize_dynamic(nn.Sequential(table), {nn.Embedding})[0]
    ids = minidl.tensor([[0, 3], [29, 3]])
    want = table(ids).detach().numpy()
    np.testing.assert_allclose(small(ids).numpy(), want, atol=np.abs(want).max() / 250)
    with pytest.raises(IndexError, match="30 rows"):
        small(minidl.tensor([30]))


def test_attention_keeps_its_own_layers(rng):
    block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    small = quantize.quantize_dynamic(block)
    assert type(small.self_attn.out_proj) is nn.Linear
    assert type(small.linear1) is quantize.QuantizedLinear
    x = minidl.tensor(rng.standard_normal((2, 5, 16)).astype(np.float32))
    assert quantize.compare(block, small, x).output.relative < 0.05


def test_errors_say_what_was_wrong():
    x = minidl.ones(2, 40, requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        quantize.quantize_dynamic(model())(x)
    with pytest.raises(ValueError, match="ReLU cannot be quantized"):
        quantize.quantize_dynamic(model(), {nn.ReLU})
    with pytest.raises(ValueError, match="no layer 7"):
        quantize.quantize_dynamic(model(), {"7"})
    with pytest.raises(ValueError, match="1 is a ReLU"):
        quantize.quantize_dynamic(model(), {"1"})
    with pytest.raises(ValueError, match="must be int8"):
        quantize.quantize_dynamic(model(), dtype="int16")
    with pytest.raises(ValueError, match="NaN or inf"):
        quantize.quantized(np.full((2, 2), np.nan))


def test_accuracy_on_digits_stays():
    """Written digits (8 x 8) by a small network: int8 costs less than 1% of accuracy."""
    data = pytest.importorskip("sklearn.datasets").load_digits()
    x = minidl.tensor((data.data / 16).astype(np.float32))
    y = minidl.tensor(data.target.astype(np.int64))
    minidl.manual_seed(0)
    full = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = minidl.optim.Adam(full.parameters(), lr=3e-3)
    for _ in range(30):
        for start in range(0, 1200, 100):
            loss = nn.functional.cross_entropy(full(x[start : start + 100]), y[start : start + 100])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    small = quantize.quantize_dynamic(full)
    accuracy = []
    with minidl.no_grad():
        for m in (full, small):
            accuracy.append((m(x[1200:]).argmax(1) == y[1200:]).float().mean().item())
    assert accuracy[0] > 0.9
    assert accuracy[1] > accuracy[0] - 0.01
