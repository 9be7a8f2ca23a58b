"""fit: the loop against one written out, exact resuming, callbacks, bad numbers and arguments."""

import json

import numpy as np
import pytest

import minidl
from minidl import nn, optim, train
from minidl.data import DataLoader, TensorDataset
from minidl.io import load, load_safetensors
from minidl.nn import functional as F
from minidl.train import (
    Accuracy,
    Callback,
    Checkpoint,
    EarlyStopping,
    JSONLog,
    Mean,
    NonFiniteError,
    TimeBudget,
    fit,
)
from minidl.train.guard import is_finite


def sample_data(rows=50, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 6)).astype("f4")
    return x, (x[:, 0] + 0.3 * x[:, 1] > 0).astype(np.int64)


def make_model(seed=0, width=8):
    minidl.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(0.4), nn.Linear(width, 2))


def make_loader(seed=5, rows=50, **settings):
    return DataLoader(TensorDataset(*sample_data(rows)), 8, shuffle=True, seed=seed, **settings)


def weights(model):
    return {k: v.array.copy() for k, v in model.state_dict().items()}


def bits(model, optimizer):
    state = optimizer.state_dict()["state"]
    arrays = [*weights(model).values()]
    arrays += [getattr(v, "array", np.asarray(v)) for s in state.values() for v in s.values()]
    return b"".join(a.tobytes() for a in arrays)


class Killed(Exception):
    pass


class KillAt(Callback):
    """Stands for SIGKILL: what is not in a file is gone."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, run):
        if run.step == self.step:
            raise Killed


# the loop


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


# resuming


def run(folder, stop_at=None, prefetch=0, epochs=4, resume=True, loader_seed=5, **more):
    model = make_model(seed=more.pop("model_seed", 0))
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    hooks = [EarlyStopping(patience=2), *([KillAt(stop_at)] if stop_at else [])]
    settings = {
        "loss": F.cross_entropy, "optimizer": optimizer, "epochs": epochs, "seed": 9,
        "valid": DataLoader(TensorDataset(*sample_data(30, 1)), 10), "callbacks": hooks,
        "metrics": [Accuracy(), train.AUC()], "log": folder / "log.jsonl", "resume": resume,
        "scheduler": optim.lr_scheduler.CosineAnnealingLR(optimizer, 28), "schedule": "step",
        "checkpoint": Checkpoint(folder / "run", every_steps=3),
    } | more  # fmt: skip
    loader = make_loader(loader_seed, prefetch=prefetch)
    history = fit(model, loader, **settings)
    return bits(model, optimizer), history


def read_log(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_stopped_anywhere_and_resumed_is_bit_equal(tmp_path, prefetch):
    expected, history = run(tmp_path, prefetch=prefetch)
    log = read_log(tmp_path)
    assert [r["step"] for r in log if r["event"] == "step"] == list(range(1, history.steps + 1))
    for step in (1, 3, 5, 7, 8, 14, 15, 20):
        folder = tmp_path / str(step)
        folder.mkdir()
        with pytest.raises(Killed):
            run(folder, step, prefetch)
        with open(folder / "log.jsonl", "a") as file:
            file.write('{"event": "step", "st')  # the line that the kill tore
        minidl.manual_seed(1234)
        found, again = run(folder, None, prefetch, loader_seed=77)  # the checkpoint has the seed
        assert found == expected, step
        assert read_log(folder) == log
        assert again["valid_loss"] == history["valid_loss"]
        assert again["auc"] == history["auc"]
        assert again.stop_reason == history.stop_reason


def test_a_finished_run_is_not_run_again_and_a_longer_one_goes_on(tmp_path):
    (tmp_path / "long").mkdir()
    for epochs in (2, 2, 4):
        found, history = run(tmp_path, epochs=epochs)
        assert len(history) == epochs
    expected, _ = run(tmp_path / "long", epochs=4)
    assert found == expected


def test_a_time_budget_can_be_gone_on_after(tmp_path):
    (tmp_path / "whole").mkdir()
    budget = [EarlyStopping(patience=9), TimeBudget(1e-9)]
    patient = [EarlyStopping(patience=9)]
    for _ in range(5):
        _, history = run(tmp_path, callbacks=budget)
        assert "time budget" in history.stop_reason
    assert history.steps == 5  # one a call: the last state is always written
    found, history = run(tmp_path, callbacks=patient)
    expected, whole = run(tmp_path / "whole", callbacks=[EarlyStopping(patience=9)])
    assert found == expected
    assert history.stop_reason is None
    assert history["loss"] == whole["loss"]


def test_an_iterable_without_state_is_read_on_from_its_place(tmp_path):
    x, y = (minidl.tensor(a) for a in sample_data())
    batches = [(minidl.tensor(x.array[i : i + 5]), minidl.tensor(y.array[i : i + 5]))
               for i in range(0, 50, 5)]  # fmt: skip
    ends = []
    for name, kill in (("a", None), ("b", 7), ("b", None)):
        model = make_model()
        optimizer = optim.SGD(model.parameters(), 0.1)
        hooks = [KillAt(kill)] if kill else []
        try:
            fit(model, batches, loss=F.cross_entropy, optimizer=optimizer, epochs=2, seed=1,
                checkpoint=Checkpoint(tmp_path / name, every_steps=2), resume=True, callbacks=hooks)
            ends.append(bits(model, optimizer))
        except Killed:
            pass
    assert ends[0] == ends[1]


def test_resuming_from_what_does_not_fit(tmp_path):
    run(tmp_path, epochs=1)
    path = tmp_path / "run" / "last.safetensors"
    before = path.read_bytes()
    loader = make_loader()

    def attempt(model=None, optimizer=None, loader=loader, resume=path, **more):
        model = model or make_model()
        optimizer = optimizer or optim.Adam(model.parameters())
        arguments = {"loss": F.cross_entropy, "epochs": 2, "metrics": [Accuracy(), train.AUC()],
                     "scheduler": optim.lr_scheduler.CosineAnnealingLR(optimizer, 28),
                     "callbacks": [EarlyStopping(patience=2)], "log": tmp_path / "l",
                     "checkpoint": tmp_path / "other"}  # fmt: skip
        return fit(model, loader, optimizer=optimizer, resume=resume, **arguments | more)

    wide = make_model(width=9)
    for arguments, error, words in [
        ({"model": wide}, ValueError, "is of another model: .*0.weight: the file has"),
        ({"model": nn.Linear(6, 2)}, ValueError, "model Sequential, this run has Linear"),
        ({"optimizer": optim.SGD(wide.parameters(), 0.1), "model": wide}, ValueError, "optimizer"),
        ({"metrics": None}, ValueError, r"metrics \[accuracy, auc\], this run has \[\]"),
        ({"scheduler": None}, ValueError, "scheduler CosineAnnealingLR, this run has none"),
        ({"callbacks": []}, ValueError, "callbacks"),
        ({"loader": make_loader(rows=49)}, ValueError, "50 samples in 7 batches"),
        ({"epochs": 0}, ValueError, "1 epochs done, more than epochs=0"),
        ({"resume": tmp_path / "none"}, FileNotFoundError, "there is no file"),
        ({"resume": 3}, TypeError, "resume must be"),
    ]:
        with pytest.raises(error, match=words) as caught:
            attempt(**arguments)
        assert "\n" not in str(caught.value)
    minidl.save({"a": 1}, tmp_path / "foreign")
    with pytest.raises(ValueError, match=r"no checkpoint of train\.fit"):
        attempt(resume=tmp_path / "foreign")
    with pytest.raises(FileExistsError, match="resume=True to go on"):
        run(tmp_path, resume=False)
    with pytest.raises(ValueError, match="give checkpoint="):
        attempt(resume=True, checkpoint=None)
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        attempt(resume=False, checkpoint=tmp_path / "no" / "folder")
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(minidl.io.FileError, match="cut short"):
        run(tmp_path)


# callbacks


def test_early_stopping_brings_the_best_back(tmp_path):
    values = iter([3.0, 1.0, 2.0, 2.0, 0.5])
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, run):
            kept.append(weights(run.model))

    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.5)
    history = fit(
        model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, epochs=9,
        valid=lambda m: {"loss": next(values)}, callbacks=[Keep(), EarlyStopping(patience=2)],
        checkpoint=tmp_path / "run",
    )  # fmt: skip
    assert len(history) == 4
    assert history.stop_reason.endswith("that of epoch 2, for 2 epochs")
    for name, value in weights(model).items():
        assert np.array_equal(value, kept[1][name])
        best = load_safetensors(tmp_path / "run/best.safetensors")[name].array
        assert np.array_equal(best, value)
        last = load(tmp_path / "run/last.safetensors")["model"][name].array
        assert np.array_equal(last, kept[3][name])


def test_early_stopping_settings():
    def stopped(values, **settings):
        feed = iter(values)
        model = make_model()
        history = fit(model, make_loader(), loss=F.cross_entropy, epochs=len(values),
                      optimizer=optim.SGD(model.parameters(), 0.1),
                      valid=lambda m: {"x": next(feed)},
                      callbacks=EarlyStopping("valid_x", **settings))  # fmt: skip
        return len(history)

    assert stopped([1, 2, 3, 3, 3], patience=2, mode="max") == 5
    assert stopped([1, 2, 3, 3, 3], patience=2, mode="min") == 3
    assert stopped([1, 1.05, 1.1, 1.4], patience=2, mode="max", min_delta=0.2) == 3
    assert stopped([1, float("nan"), float("nan"), 2], patience=2, mode="min") == 3
    with pytest.raises(ValueError, match="give mode='min' or 'max'"):
        stopped([1], patience=2)
    for settings in ({"patience": 0}, {"min_delta": -1}, {"mode": "up"}):
        with pytest.raises(ValueError, match="EarlyStopping"):
            EarlyStopping(**settings)
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    with pytest.raises(ValueError, match="no 'valid_loss' to monitor; the epoch has epoch, step"):
        fit(model, make_loader(), loss=F.cross_entropy, callbacks=EarlyStopping("valid_loss"),
            optimizer=optimizer)  # fmt: skip


def test_hooks_come_in_order_and_close_always():
    told = []

    class Told(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_") or name == "close":
                told.append(name)
            return super().__getattribute__(name)

    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    fit(model, make_loader(rows=16), loss=F.cross_entropy, optimizer=optimizer, callbacks=[Told()])
    assert told == ["close", "on_fit_start", "on_epoch_start", "on_step_end", "on_step_end",
                    "on_epoch_end", "on_fit_end"]  # fmt: skip

    class Closed(Callback):
        open = True

        def close(self):
            self.open = False

    closed = Closed()
    with pytest.raises(Killed):
        fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer,
            callbacks=[closed, KillAt(1)])  # fmt: skip
    assert not closed.open


def test_the_log_is_appended_to(tmp_path):
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    path = tmp_path / "log.jsonl"
    for _ in range(2):
        fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, log=JSONLog(path, 2))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [r["step"] for r in rows] == [2, 4, 6, 7] * 2
    assert [r["event"] for r in rows[:4]] == ["step"] * 3 + ["epoch"]
    with pytest.raises(FileNotFoundError, match="log: the folder"):
        fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, log=tmp_path / "a/b")
    with pytest.raises(ValueError, match="every must be"):
        JSONLog(path, 0)


def test_no_bar_without_a_terminal(capsys):
    model = make_model()
    fit(model, make_loader(), loss=F.cross_entropy, optimizer=optim.SGD(model.parameters(), 0.1))
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    pytest.importorskip("tqdm")
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    model = make_model()
    optimizer = optim.SGD(model.parameters(), 0.1)
    fit(model, make_loader(), loss=F.cross_entropy, optimizer=optimizer, epochs=2)
    shown = capsys.readouterr().err
    assert "epoch 1/2" in shown
    assert "epoch 2: loss" in shown


# not a number


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
        ({"loss": None, "step": lambda m, b: F.cross_entropy(m(b[0]), b[1]),
          "metrics": Accuracy()}, TypeError, "for metrics"),
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
