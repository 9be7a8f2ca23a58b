"""The profiler counts what ran, writes a trace that nests, and leaves nothing behind."""

import gzip
import json
import os
import threading

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import _tensor, _walk, kernels, nn, optim
from minidl.ops._op import Op
from minidl.ops.activation import Relu
from minidl.profiler import profile

N, D, H = 6, 5, 3  # rows, inputs, hidden


def net():
    minidl.manual_seed(0)
    return nn.Sequential(nn.Linear(D, H), nn.Tanh(), nn.Sequential(nn.Linear(H, 1)))


def step(model, optimizer, x):
    optimizer.zero_grad()
    (model(x) * 2.0).sum().backward()
    optimizer.step()


def profiled(steps=1):
    model, x = net(), minidl.randn(N, D)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with minidl.profile() as prof:
        for _ in range(steps):
            step(model, optimizer, x)
    return prof


def found(prof, kind, name, phase):
    rows = [r for r in prof.rows if (r.kind, r.name, r.phase) == (kind, name, phase)]
    assert len(rows) == 1, f"{len(rows)} rows of {kind} {name} {phase}"
    return rows[0]


def test_calls_flops_and_bytes_counted_by_hand():
    prof = profiled(steps=2)
    linear = found(prof, "op", "Linear", "forward")
    assert linear.calls == 2 * 2
    assert linear.flops == 2 * (2 * N * D * H + 2 * N * H)
    # x, weight, bias; and as much as the largest of them for the output, as Op.bytes counts
    first, second = N * D + H * D + H + N * D, N * H + H + 1 + N * H
    assert linear.size == 2 * 4 * (first + second)
    # the first layer's input needs no gradient: one product there, two in the second layer
    assert found(prof, "op", "Linear", "backward").flops == 2 * (2 * N * D * H + 2 * 2 * N * H)
    tanh = found(prof, "op", "Tanh", "backward")
    assert (tanh.calls, tanh.size) == (2, 2 * 4 * 3 * N * H)  # dout, out, dx
    assert found(prof, "op", "Mul", "forward").flops == 2 * N
    sgd = found(prof, "optimizer", "SGD", "step")
    parameters = H * D + H + H + 1
    assert (sgd.calls, sgd.size) == (2, 2 * 4 * 3 * parameters)  # gradient; parameter both ways
    walk = found(prof, "walk", "backward", "backward")
    assert walk.calls == 2


def test_modules_are_named_by_their_path_in_the_model():
    prof = profiled()
    names = {r.name for r in prof.rows if r.kind == "module"}
    assert names == {"Sequential", "0 (Linear)", "1 (Tanh)", "2 (Sequential)", "2.0 (Linear)"}


def test_times_add_up():
    prof = profiled(steps=3)
    assert 0 < sum(r.own for r in prof.rows) <= prof.seconds
    assert sum(r.share for r in prof.rows) <= 1
    for row in prof.rows:
        assert 0 <= row.own <= row.time <= prof.seconds
    outer = found(prof, "module", "Sequential", "forward")
    assert outer.time > found(prof, "module", "2.0 (Linear)", "forward").time


@pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: kernels are plain functions")
def test_kernels_have_the_phase_of_what_called_them():
    x = minidl.randn(70, 50, requires_grad=True)
    with minidl.profile() as prof:
        F.gelu(x).sum().backward()
    forward = found(prof, "kernel", "gelu_forward", "forward")
    assert (forward.calls, forward.size, forward.flops) == (1, 2 * 4 * 3500, None)
    assert found(prof, "kernel", "gelu_backward", "backward").calls == 1
    assert found(prof, "op", "Gelu", "forward").time >= forward.time


def test_a_graph_from_before_the_profile_is_timed_without_counts():
    x = minidl.randn(4, requires_grad=True)
    y = (-x).sum()
    with minidl.profile() as prof:
        y.backward()
    row = found(prof, "op", "Neg", "backward")
    assert (row.calls, row.flops, row.size) == (1, None, None)
    assert "-" in prof.table()


def test_row_sparse_gradients_count_their_rows():
    table = nn.Embedding(1000, 4, sparse=True)
    optimizer = optim.SparseAdam(table.parameters())
    for _ in range(2):  # the states are there from the second step on
        table(minidl.tensor([3, 7])).sum().backward()
        with minidl.profile() as prof:
            optimizer.step()
        optimizer.zero_grad()
    # gradient rows; parameter and two states, each read and written
    assert found(prof, "optimizer", "SparseAdam", "step").size == 4 * (2 * 4) * (1 + 2 * 3)


def test_trace_is_json_and_its_events_nest(tmp_path):
    prof = profiled()
    prof.export_chrome_trace(tmp_path / "trace.json")
    trace = json.loads((tmp_path / "trace.json").read_text())
    events = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert {e["cat"] for e in events} >= {"module", "op", "walk", "optimizer"}
    open_until = []
    for e in events:  # in order of their start
        assert e["pid"] == os.getpid()
        assert e["dur"] >= 0
        start, stop = round(e["ts"] * 1e3), round((e["ts"] + e["dur"]) * 1e3)  # ns
        while open_until and open_until[-1] <= start:
            open_until.pop()
        assert not open_until or stop <= open_until[-1], f"{e['name']} ends after what it is in"
        open_until.append(stop)
    linear = next(e for e in events if e["name"] == "Linear")
    assert linear["args"] == {"phase": "forward", "bytes": 4 * (2 * N * D + H * D + H),
                              "flops": 2 * N * D * H}  # fmt: skip
    assert os.listdir(tmp_path) == ["trace.json"]
    prof.export_chrome_trace(tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes())) == trace


def test_results_are_the_same_bits_with_a_profile():
    results = []
    for watched in (False, True):
        model, x = net(), minidl.arange(N * D, dtype=minidl.float32).reshape(N, D) / 10
        optimizer = optim.Adam(model.parameters())
        if watched:
            with minidl.profile():
                step(model, optimizer, x)
        else:
            step(model, optimizer, x)
        results.append(b"".join(p.array.tobytes() for p in model.parameters()))
    assert results[0] == results[1]


def state():
    """What a profile exchanges."""
    kinds: list[type] = [Op, kernels.Kernel, nn.Module, optim.Optimizer]
    for cls in kinds:
        kinds += [c for c in type.__subclasses__(cls) if c not in kinds]
    places = [(cls, name) for cls in kinds for name in ("forward", "__call__", "step")]
    functions = _walk._walk, _walk._step, _walk._reachable, list(_tensor.observers)
    return [cls.__dict__.get(name) for cls, name in places if name in cls.__dict__], functions


def test_nothing_is_left_behind():
    profiled()  # loads what it needs
    before = state()
    with minidl.profile():
        assert state() != before
    assert state() == before
    prof = minidl.profile()
    with pytest.raises(ValueError, match="broadcast"), prof:
        minidl.ones(3) + minidl.ones(2)
    assert state() == before
    assert found(prof, "op", "Add", "forward").calls == 1


def test_a_function_kept_from_a_profile_still_works(tmp_path):
    with minidl.profile() as prof:
        kept = Relu.forward
    assert kept(np.array([-1.0, 2.0]))[0].tolist() == [0.0, 2.0]
    prof.export_chrome_trace(tmp_path / "t.json")
    assert "Relu" not in (tmp_path / "t.json").read_text()


def test_threads_have_their_own_nesting(tmp_path):
    def work():
        for _ in range(20):
            F.relu(minidl.ones(10))

    others = [threading.Thread(target=work) for _ in range(2)]
    with minidl.profile() as prof:
        for other in others:
            other.start()
        for other in others:
            other.join()
    assert found(prof, "op", "Relu", "forward").calls == 40
    prof.export_chrome_trace(tmp_path / "t.json")
    trace = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert len({e["tid"] for e in trace if e.get("name") == "Relu"}) == 2


def test_table():
    prof = profiled(steps=2)
    lines = prof.table(sort_by="calls").splitlines()
    assert lines[0].split()[:4] == ["kind", "name", "phase", "calls"]
    assert "(all else)" in lines[-2]
    assert lines[-1].startswith("whole time")
    calls = [int(line.split()[3]) for line in lines[1:-2]]
    assert calls == sorted(calls, reverse=True)
    assert "rows more" in prof.table(row_limit=1)
    assert "Sequential" in prof.table(kinds=["module"])
    assert "Sequential" not in prof.table()


def test_errors_say_what_to_do(tmp_path):
    with minidl.profile() as prof:
        with pytest.raises(RuntimeError, match="after its with block"):
            prof.table()
        with pytest.raises(RuntimeError, match="another profile is running"), minidl.profile():
            pass
    assert "whole time" in prof.table()  # the inner one did not disturb it
    with pytest.raises(RuntimeError, match="has not ended"):
        profile().export_chrome_trace(tmp_path / "t")
    with pytest.raises(RuntimeError, match="runs once"), prof:
        pass
    with pytest.raises(ValueError, match="sort_by must be"):
        prof.table(sort_by="speed")
    with pytest.raises(ValueError, match="kinds are"):
        prof.table(kinds=["ops"])
    with pytest.raises(OSError, match="does not exist"):
        prof.export_chrome_trace(tmp_path / "none" / "t.json")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot be written"):
        profiled().export_chrome_trace(tmp_path / "t.json")
