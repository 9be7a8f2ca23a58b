"""Kill a training process at random moments, resume it, and compare with one that was left alone.

    python -m benchmarks.quality.kill_resume [--kills 20] [--seed 0]

Each trial starts a process that trains an MLP (dropout, Adam, cosine schedule, shuffling and
prefetching loader, validation, early stopping, a log) and writes a checkpoint every few steps;
kills it with SIGKILL, some at a random moment from its very start, some the moment a temporary file
of a checkpoint is there; and starts it again with resume=True until it ends. The SHA-256 of its
final weights, optimizer, scheduler, history and log must be those of the uninterrupted run.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
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
    # one thread each: two trials run side by side
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
    began = time.monotonic()
    process = start(folder)
    file_waited_for = rng.random() < 0.5
    moment = began + rng.uniform(0.05, whole)
    run = folder / "run"
    while process.poll() is None:
        now = time.monotonic()
        if file_waited_for and now > moment:  # the next checkpoint that is being written
            if run.is_dir() and any(name.endswith(".tmp") for name in os.listdir(run)):
                break
        elif now > moment:
            break
        if not file_waited_for:
            time.sleep(0.001)
    ended = process.poll() is not None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if ended:
        return None
    torn = run.is_dir() and any(name.endswith(".tmp") for name in os.listdir(run))
    if torn:
        return "while writing"
    return "in training" if (run / "last.safetensors").exists() else "at the start"


def trial(number: int, folder: Path, seed: int, whole: float) -> tuple[int, str, str]:
    """(number, where it was killed, digest of the end)."""
    rng = random.Random(seed * 1000 + number)
    for _ in range(20):
        where = kill_once(folder, rng, whole)
        if where is not None:
            break
        shutil.rmtree(folder)
    else:
        raise RuntimeError("no kill came in time")
    finish(start(folder))
    return number, where, digest(folder)


def main(arguments: list[str] | None = None) -> int:
    """Run the trials; 0 if all are bit-equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="trials side by side")
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
        equal = 0
        with ThreadPoolExecutor(options.jobs) as pool:
            waiting = [
                pool.submit(trial, n, root / str(n), options.seed, whole)
                for n in range(options.kills)
            ]
            for future in waiting:
                number, where, found = future.result()
                equal += found == expected
                said = "bit-equal" if found == expected else f"DIFFERS: {found[:12]}"
                print(f"kill {number + 1:2d} {where:13s} {said}", flush=True)
    print(
        f"{equal} of {options.kills} bit-equal to {expected[:12]}, {time.monotonic() - began:.0f} s"
    )
    return 0 if equal == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
