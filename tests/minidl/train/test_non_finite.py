"""fit with losses, gradients and weights that are not finite numbers."""

import numpy as np
import pytest

import minidl
from minidl import nn, optim
from minidl.data import DataLoader, TensorDataset
from minidl.io import load
from minidl.nn import functional as F
from minidl.train import (
    Callback,
    Checkpoint,
    NonFiniteError,
    fit,
)
from minidl.train.guard import is_finite
from tests.minidl.train._runs import make_loader, make_model, sample_data, weights


def poisoned(at, value=float("nan")):
    calls = iter(range(100))

    def loss(output, target):
        found = F.cross_entropy(output, target)
        return found * value if next(calls) == at else found

    return loss


def test_a_loss_that_is_nan_stops_and_leaves_the_good_checkpoint(tmp_path):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(NonFiniteError) as error:
        fit(model, make_loader(), loss=poisoned(4), optimizer=optimizer,
            checkpoint=Checkpoint(tmp_path / "run", every_steps=2))  # fmt: skip
    text = str(error.value)
    assert "at step 5 (epoch 1) the loss is nan, with finite weights and inputs" in text
    assert "last good checkpoint is" in text
    assert "\n" not in text
    assert error.value.name == "loss"
    assert len(error.value.batch) == 2
    state = load(tmp_path / "run" / "last.safetensors")
    assert state["step"] == 4
    for name, value in weights(model).items():
        assert np.array_equal(value, state["model"][name].array)


def test_a_bad_gradient_is_named_before_the_step():
    model = make_model()
    before = weights(model)
    model[3].weight.register_hook(lambda g: g * float("inf"))
    optimizer = optim.SGD(model.parameters(), 0.1)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match=r"gradient of 3\.weight"):
        fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer)
    for name, value in weights(model).items():
        assert np.array_equal(value, before[name])


def test_a_bad_weight_and_a_bad_input_are_named(tmp_path):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)

    class Spoil(Callback):
        def on_step_end(self, run):
            if run.step == 2:
                run.model[3].bias.array[0] = np.nan

    with pytest.raises(NonFiniteError, match=r"weight 3\.bias holds 1 NaN among 2") as error:
        fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, callbacks=[Spoil()],
            checkpoint=Checkpoint(tmp_path / "run", every_steps=2))  # fmt: skip
    assert error.value.name == "3.bias"
    assert load(tmp_path / "run" / "last.safetensors")["step"] == 0  # step 2 was not written
    x, y = sample_data()
    x[3, 1] = np.inf
    model = nn.Linear(6, 2)
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="part 0 of the batch"):
        fit(model, DataLoader(TensorDataset(x, y), 50), loss=F.cross_entropy,
            optimizer=optim.SGD(model.parameters(), 0.1))  # fmt: skip


def test_finite_numbers_whose_squares_are_not_are_finite():
    large = np.full(100, 1e30, np.float32)
    assert is_finite(large)
    assert is_finite(np.ones(3, np.float16))
    assert is_finite(np.zeros((0, 2)))
    assert is_finite(np.arange(3))
    for bad in (np.nan, np.inf, -np.inf):
        large[7] = bad
        assert not is_finite(large)
        assert not is_finite(large[::7])
        assert not is_finite(np.array([1, bad], np.float16))


def test_tables_with_row_sparse_gradients():
    minidl.manual_seed(0)
    table = nn.Embedding(20, 4, sparse=True)
    ids = np.arange(40) % 5
    batches = DataLoader(TensorDataset(ids, np.ones((40, 4), np.float32)), 8)
    before = table.weight.array.copy()
    history = fit(table, batches, loss=F.mse_loss, epochs=3, clip_norm=1.0,
                  optimizer=optim.SparseAdam(table.parameters(), lr=0.1))  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    assert np.array_equal(table.weight.array[5:], before[5:])
    table.weight.array[3] = 1e30  # its gradient is finite, the loss is not
    with np.errstate(all="ignore"), pytest.raises(NonFiniteError, match="the loss is inf"):
        fit(table, batches, loss=F.mse_loss, optimizer=optim.SparseAdam(table.parameters()))
