"""Kill a training process at random moments, resume it, and compare with one that was left alone.

    python -m benchmarks.quality.kill_resume [--kills 20] [--seed 0]

Each run starts a process that trains an MLP (dropout, Adam, cosine schedule, shuffling and
prefetching loader, validation, early stopping, a log) and writes a checkpoint every few steps;
kills it with SIGKILL, some at a random moment from its very start, some the moment a temporary file
of a checkpoint is there; and starts it again with resume=True, to be killed again, until after four
kills it may end. The SHA-256 of its final weights, optimizer, scheduler, random state, history and
log must then be those of the uninterrupted run.
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

EPOCHS, SAMPLES, BATCH, EVERY = 5, 640, 32, 4


def train_once(folder: Path) -> None:
    """What the process does: the same run, begun or gone on with."""
    import numpy as np

    from minidl import data, nn, optim, train
    from minidl.nn import functional as F

    rng = np.random.default_rng(7)
    x = rng.standard_normal((SAMPLES + 200, 32)).astype(np.float32)
    y = (x[:, :8].sum(1) > 0).astype(np.int64) + (x[:, 8] > 0.5)
    fit_part = data.TensorDataset(x[:SAMPLES], y[:SAMPLES])
    valid_part = data.TensorDataset(x[SAMPLES:], y[SAMPLES:])
    from minidl.random import manual_seed

    manual_seed(1)
    model = nn.Sequential(
        nn.Linear(32, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 64), nn.ReLU(),
        nn.Dropout(0.2), nn.Linear(64, 3),
    )  # fmt: skip
    optimizer = optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    steps = EPOCHS * SAMPLES // BATCH
    train.fit(
        model,
        data.DataLoader(fit_part, BATCH, shuffle=True, prefetch=2),
        loss=F.cross_entropy,
        optimizer=optimizer,
        epochs=EPOCHS,
        valid=data.DataLoader(valid_part, 100),
        metrics=[train.Accuracy(), train.F1("macro")],
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        schedule="step",
        callbacks=[train.EarlyStopping(patience=3)],
        checkpoint=train.Checkpoint(folder / "run", every_steps=EVERY),
        resume=True,
        log=folder / "log.jsonl",
        clip_norm=1.0,
        seed=3,
    )


def digest(folder: Path) -> str:
    """The hash of everything a finished run must have in common with another, bit by bit."""
    from minidl.io import load, load_safetensors

    state = load(folder / "run" / "last.safetensors")
    best = load_safetensors(folder / "run" / "best.safetensors")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    rows = [_without_time(row) for row in [*state["history"], *log]]
    found = hashlib.sha256(json.dumps(rows).encode())
    kept = {k: v for k, v in state.items() if k not in ("history", "valid")}
    for name, value in (*_leaves(kept, "last"), *_leaves(best, "best")):
        array = getattr(value, "array", value)
        bits = array.tobytes() if hasattr(array, "tobytes") else repr(array).encode()
        found.update(name.encode() + b"=" + bits + b"\n")
    return found.hexdigest()


def _without_time(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != "seconds"}


def _leaves(value: Any, path: str) -> Any:
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _leaves(inner, f"{path}.{key}")
    else:
        yield path, value


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """The process, in a folder that it may find half done."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.quality.kill_resume", "--worker", str(folder)]
    # one thread each: two runs go side by side
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    threads = dict.fromkeys(names, "1")
    return subprocess.Popen(command, env={**os.environ, **threads}, stderr=subprocess.PIPE)


def finish(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process that nobody kills."""
    _, errors = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"the training process failed:\n{errors.decode()}")


def kill_once(folder: Path, rng: random.Random, whole: float) -> str | None:
    """Start, kill at a random moment; where that was, or None if the run ended before."""
    last = folder / "run" / "last.safetensors"
    torn_before, written_before = _torn(folder), _written(last)
    began = time.monotonic()
    process = start(folder)
    file_waited_for = rng.random() < 0.5
    moment = began + rng.uniform(0.05, whole)
    while process.poll() is None:
        if time.monotonic() > moment and not (file_waited_for and _torn(folder) <= torn_before):
            break
        if not file_waited_for:
            time.sleep(0.001)
    if process.poll() is not None:
        finish(process)
        return None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if _torn(folder) - torn_before:
        return "while writing"
    return "in training" if _written(last) != written_before else "at the start"


def _torn(folder: Path) -> set[str]:
    """The temporary files that are there."""
    run = folder / "run"
    return {n for n in os.listdir(run) if n.endswith(".tmp")} if run.is_dir() else set()


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def chain(
    number: int, kills: int, root: Path, seed: int, whole: float, expected: str
) -> list[tuple[str, bool]]:
    """(where, whether the end was bit-equal) of each kill of a run that is killed several times.

    A run that ends before its next kill is compared, and another one takes the kills that are left.
    """
    rng = random.Random(seed * 1000 + number)
    told: list[tuple[str, bool]] = []
    places: list[str] = []
    for attempt in itertools.count():
        folder = root / f"{number}.{attempt}"
        while len(told) + len(places) < kills:
            where = kill_once(folder, rng, whole)
            if where is None:
                break
            places.append(where)
        else:
            finish(start(folder))
        equal = digest(folder) == expected
        told += [(where, equal) for where in places]
        places = []
        if len(told) == kills:
            return told
        if attempt > 10 * kills:
            raise RuntimeError("no kill came in time: every run ended before")
    raise AssertionError


def _sizes(kills: int) -> list[int]:
    """How many kills each run gets: four, the last one what is left."""
    return [min(4, kills - i) for i in range(0, kills, 4)]


def main(arguments: list[str] | None = None) -> int:
    """Run the trials; 0 if all are bit-equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        train_once(options.worker)
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        finish(start(root / "warm"))  # compiles the kernels, if nothing has yet
        first = time.monotonic()
        finish(start(root / "whole"))
        whole = time.monotonic() - first
        expected = digest(root / "whole")
        assert digest(root / "warm") == expected, "two uninterrupted runs differ"
        told: list[tuple[str, bool]] = []
        sizes = _sizes(options.kills)
        with ThreadPoolExecutor(options.jobs) as pool:
            waiting = [
                pool.submit(chain, n, size, root, options.seed, whole, expected)
                for n, size in enumerate(sizes)
            ]
            for n, future in enumerate(waiting):
                for where, equal in future.result():
                    told.append((where, equal))
                    said = "bit-equal" if equal else "DIFFERS"
                    print(f"kill {len(told):2d}, run {n + 1}, {where:13s} {said}", flush=True)
    equal = sum(equal for _, equal in told)
    print(
        f"{equal} of {options.kills} bit-equal to {expected[:12]}, {time.monotonic() - began:.0f} s"
    )
    return 0 if equal == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
