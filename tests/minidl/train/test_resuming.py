"""fit stopped anywhere and resumed: the same bits; what does not fit is told."""

import json

import pytest

import minidl
from minidl import nn, optim, train
from minidl.data import DataLoader, TensorDataset
from minidl.io import load
from minidl.nn import functional as F
from minidl.train import (
    Accuracy,
    Checkpoint,
    EarlyStopping,
    TimeBudget,
    fit,
)
from tests.minidl.train._runs import (
    KillAt,
    Killed,
    bits,
    make_loader,
    make_model,
    sample_data,
)


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
            fit(
                model,
                batches,
                loss=F.cross_entropy,
                optimizer=optimizer,
                epochs=2,
                seed=1,
                checkpoint=Checkpoint(tmp_path / name, every_steps=2),
                resume=True,
                callbacks=hooks,
            )
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


class Counting(nn.Linear):
    """Counts its calls in training, as extra state."""

    calls = 0

    def forward(self, x):
        self.calls += self.training
        return super().forward(x)

    def get_extra_state(self):
        return {"calls": self.calls}

    def set_extra_state(self, state):
        self.calls = state["calls"]


def test_extra_state_is_resumed_and_brought_back(tmp_path):
    def go(model, epochs):
        values = iter([1.0, 2.0, 3.0])
        fit(
            model, make_loader(rows=16), loss=F.cross_entropy, epochs=epochs, resume=True,
            optimizer=optim.SGD(model.parameters(), 0.1), checkpoint=tmp_path / "run",
            valid=lambda m: {"loss": next(values)}, callbacks=[EarlyStopping(patience=5)],
        )  # fmt: skip

    go(Counting(6, 2), 1)
    model, best = Counting(6, 2), Counting(6, 2)
    seen = []
    model.register_forward_hook(lambda *_: seen.append(model.calls))
    go(model, 2)
    assert seen == [3, 4]  # after the 2 batches of the first epoch
    assert model.calls == 2  # EarlyStopping brought the best epoch back
    best.load_state_dict(load(tmp_path / "run/best.safetensors"))
    assert best.calls == 2
