"""fit: the loop against one written out, bad arguments; evaluate, predict and summary."""

import numpy as np
import pytest

import minidl
from minidl import nn, optim, train
from minidl.data import DataLoader, TensorDataset
from minidl.nn import functional as F
from minidl.train import (
    Accuracy,
    Checkpoint,
    EarlyStopping,
    Mean,
    TimeBudget,
    fit,
)
from tests.minidl.train._runs import (
    bits,
    make_loader,
    make_model,
    sample_data,
    weights,
)


def test_the_loop_is_the_one_written_out():
    model, loader = make_model(), make_loader()
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    minidl.manual_seed(3)
    losses = []
    for _ in range(5):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total += loss.item() * len(x)
        losses.append(total / 50)
        scheduler.step()
    expected = bits(model, optimizer)

    model, loader = make_model(), make_loader()
    optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    history = fit(
        model, loader, loss=F.cross_entropy, optimizer=optimizer, scheduler=scheduler,
        epochs=5, clip_norm=0.5, seed=3, metrics=Accuracy(), valid=make_loader(rows=20),
    )  # fmt: skip
    assert bits(model, optimizer) == expected
    assert history["loss"] == pytest.approx(losses, rel=1e-12)
    assert history["lr"] == [0.2, 0.2, 0.1, 0.1, 0.05]
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert history.steps == 35
    assert len(history) == 5
    assert history["loss"][-1] < history["loss"][0]
    assert history.names()[:3] == ["epoch", "step", "loss"]
    assert history.best("accuracy", "max")["accuracy"] == max(history["accuracy"])
    with pytest.raises(KeyError, match="no 'x', only epoch"):
        history["x"]
    found = train.evaluate(model, make_loader(rows=20), F.cross_entropy, Accuracy())
    assert found["loss"] == pytest.approx(history[-1]["valid_loss"])
    assert found["accuracy"] == history[-1]["valid_accuracy"]


def test_step_and_other_batches():
    x, _ = sample_data()
    model = nn.Linear(6, 6)
    start = weights(model)

    def rebuild(model, batch):
        return F.mse_loss(model(batch["x"]), batch["x"])

    batches = [{"x": minidl.tensor(x[i : i + 10])} for i in range(0, 50, 10)]
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    history = fit(model, batches, step=rebuild, optimizer=optimizer, epochs=30, valid=batches)
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert history["valid_loss"][-1] <= history["loss"][-1]
    assert not np.array_equal(start["weight"], weights(model)["weight"])
    rates = fit(
        model, batches, step=rebuild, optimizer=optimizer, epochs=3,
        valid=lambda m: {"ndcg": 0.5}, callbacks=EarlyStopping("valid_ndcg", 1, mode="max"),
    )  # fmt: skip
    assert rates["valid_ndcg"] == [0.5, 0.5]
    assert rates.stop_reason.startswith("valid_ndcg has not become better than 0.5, that of")


def test_schedules_by_step_and_by_metric():
    model = make_model()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    by_step = optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, scheduler=by_step,
        schedule="step")  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == 0.5**7
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    history = fit(
        model, make_loader(), loss=lambda o, t: (o * 0).sum() + 1, optimizer=optimizer, epochs=3,
        scheduler=plateau,
    )  # fmt: skip
    assert history["lr"] == pytest.approx([1.0, 1.0, 0.1])


# bad arguments


def test_bad_arguments(tmp_path):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    other = optim.SGD(make_model().parameters(), 0.1)
    loader = make_loader()
    good = {"model": model, "loader": loader, "loss": F.cross_entropy, "optimizer": optimizer}
    empty = DataLoader(TensorDataset(*sample_data(5)), 8, drop_last=True)

    def flat(output, target):
        return F.cross_entropy(output, target, reduction="none")

    for change, error, words in [
        ({"model": len}, TypeError, "must be an nn.Module"),
        ({"loader": 3}, TypeError, "data.DataLoader"),
        ({"loader": empty}, ValueError, "gave no batches"),
        ({"loader": []}, ValueError, "gave no batches"),
        ({"loader": [(1,)]}, TypeError, "a batch must be"),
        ({"loader": [{"x": 1}]}, TypeError, "a batch must be .* got dict"),
        ({"loss": None}, ValueError, "give a loss"),
        ({"loss": 3}, TypeError, "loss must be a function"),
        ({"step": len}, ValueError, "leave out loss"),
        ({"loss": flat}, ValueError, r"one number, got shape \(8,\)"),
        ({"loss": lambda o, t: 1.0}, TypeError, "must be a Tensor"),
        ({"loss": lambda o, t: F.cross_entropy(o.detach(), t)}, ValueError, "no parameter"),
        ({"loss": None, "step": lambda m, b: 3}, TypeError, "step must return"),
        (
            {
                "loss": None,
                "step": lambda m, b: F.cross_entropy(m(b[0]), b[1]),
                "metrics": Accuracy(),
            },
            TypeError,
            "for metrics",
        ),
        ({"optimizer": 3}, TypeError, "must have step"),
        ({"optimizer": other}, ValueError, "none of this model's parameters"),
        ({"epochs": -1}, ValueError, "epochs must be"),
        ({"epochs": 1.5}, ValueError, "epochs must be"),
        ({"schedule": "day"}, ValueError, "schedule must be"),
        ({"clip_norm": 0}, ValueError, "clip_norm must be"),
        ({"clip_norm": -1.0}, ValueError, "clip_norm must be"),
        ({"seed": -1}, ValueError, "seed must be 0 or more"),
        ({"callbacks": [EarlyStopping]}, TypeError, "subclasses .* got EarlyStopping"),
        ({"metrics": [len]}, TypeError, "not a Metric"),
        ({"checkpoint": tmp_path / "a" / "b"}, FileNotFoundError, "make it first"),
    ]:
        with pytest.raises(error, match=words) as caught:
            fit(**good | change)
        assert "\n" not in str(caught.value)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="cannot be made"):
        fit(**good, checkpoint=tmp_path / "file")
    for settings in ({"every_steps": 0}, {"every_epochs": -1}, {"mode": "x"}):
        with pytest.raises(ValueError, match="Checkpoint"):
            Checkpoint(tmp_path, **settings)
    with pytest.raises(ValueError, match="TimeBudget"):
        TimeBudget(0)
    assert len(fit(**good, epochs=0)) == 0


# evaluate, predict, summary


def test_evaluate_and_predict_leave_the_model_as_it_was():
    model = make_model()
    model[1].eval()
    loader = DataLoader(TensorDataset(*sample_data()), 8)
    state = minidl.random.get_rng_state()
    out = train.predict(model, loader)
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert minidl.random.get_rng_state() == state
    expected = model.eval()(minidl.tensor(sample_data()[0]))
    assert np.allclose(out.array, expected.detach().array, atol=1e-6)
    assert not out.requires_grad
    only = train.predict(model, DataLoader(TensorDataset(sample_data()[0]), 8))
    assert np.array_equal(only.array, out.array)

    class Two(nn.Module):
        def forward(self, x, y):
            return x, y * 2

    one, two = train.predict(Two(), loader, inputs=2)
    assert one.shape == (50, 6)
    assert np.array_equal(two.array, sample_data()[1] * 2)
    with pytest.raises(ValueError, match="the batch has 2 parts"):
        train.predict(model, loader, inputs=3)
    with pytest.raises(ValueError, match="no batches"):
        train.predict(model, [])
    with pytest.raises(ValueError, match="a loss, metrics"):
        train.evaluate(model, loader)
    found = train.evaluate(model, loader, metrics={"gap": Mean(lambda o, t: o.sum(1))})
    assert found["gap"] == pytest.approx(float(out.array.sum(1).mean()), rel=1e-5)


def test_summary():
    model = make_model(width=16)
    state = minidl.random.get_rng_state()
    found = train.summary(model, minidl.tensor(sample_data()[0][:3]))
    assert minidl.random.get_rng_state() == state
    assert found.parameters == 6 * 16 + 16 + 16 * 2 + 2 == found.trainable
    assert found.bytes == 4 * found.parameters
    rows = {layer.name: layer for layer in found.layers}
    assert rows["0"].shape == (3, 16)
    assert rows["0"].parameters == 112
    assert rows["3"].kind == "Linear"
    assert rows[""].shape == (3, 2)
    text = str(found)
    assert "146 parameters, 146 of them trained, 584 bytes" in text
    assert len(text.splitlines()) == 1 + 2 + 5 + 1
    assert all(m.training for m in model.modules())
