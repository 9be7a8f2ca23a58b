"""Callbacks of fit: early stopping, order of hooks, the log, the bar."""

import json

import numpy as np
import pytest

from minidl import optim
from minidl.io import load, load_safetensors
from minidl.nn import functional as F
from minidl.train import (
    Callback,
    EarlyStopping,
    JSONLog,
    fit,
)
from tests.minidl.train._runs import (
    KillAt,
    Killed,
    make_loader,
    make_model,
    weights,
)


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
