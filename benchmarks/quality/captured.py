"""PyTorch's operator, module and optimizer samples through `minidl.capture`.

    python -m benchmarks quality captured SCRIPT [--what ops|gradgrad|modules|optim] [--only NAME]

SCRIPT is `opinfo_parity.py`, which holds minidl's eager results against PyTorch's. Here each
sample is first held against PyTorch by the script itself; then the same function, forward and
backward (with gradgrad, twice), runs as a captured step beside an eager twin: recorded with the
sample's values, replayed with others. All outputs, gradients, and what modules keep must be
eager's, bit for bit; with fused runs to a relative 1e-9 (float64). A step that capture refuses must
say so (CaptureError): such samples are counted apart, with the reason.

With --what optim each optimizer trains a small network for seven steps, the learning rate changed
by a schedule at each.
"""

import argparse
import ast
import copy
import sys
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import minidl
import minidl.nn.functional
from minidl import CaptureError, Tensor, nn, optim

ROUNDS = (0, 0, 1, 2)
"""How far the values are turned in each call: the first two are recorded, the others replayed."""
TOLERANCE = 1e-9  # of fused runs: exp, tanh, log, sigmoid within 3 units in the last place
STEPS = 7  # of an optimizer
_TORCHS = ("foreach", "fused", "capturable", "differentiable")  # settings of PyTorch's alone


def functions_of(script: Path, *argv: str) -> types.ModuleType:
    """The script's imports and functions, without the run at its end."""
    tree = ast.parse(script.read_text())
    last = max(i for i, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef))
    tree.body = tree.body[: last + 1]
    module = types.ModuleType(script.stem)
    before, sys.argv = sys.argv, [str(script), *argv]
    try:
        exec(compile(tree, str(script), "exec"), module.__dict__)
    finally:
        sys.argv = before
    return module


def turned(x: Any, by: int, whole_numbers: bool) -> Any:
    """A nest of torch tensors with other values of the same kind: the same numbers in other places,
    real ones a little smaller.

    Ranges stay: probabilities, positive numbers, indices. whole_numbers: turn indices and masks.
    """
    import torch

    if isinstance(x, torch.Tensor):
        y = x.detach()
        if whole_numbers or y.is_floating_point():
            y = y.flatten().roll(by).reshape(y.shape)
        if y.is_floating_point():
            y = y * (1 - by / 32)
        return y.clone().requires_grad_(x.requires_grad)
    if isinstance(x, (list, tuple)) and not isinstance(x, torch.Size):
        return type(x)([turned(part, by, whole_numbers) for part in x])
    if isinstance(x, dict):
        return {key: turned(part, by, whole_numbers) for key, part in x.items()}
    return x


def tensors_in(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [t for part in tree for t in tensors_in(part)] if isinstance(tree, (list, tuple)) else []


def projected(outs: list[Tensor]) -> Tensor | None:
    """A weighted sum of all elements of the outputs that have a gradient."""
    total = None
    for out in outs:
        if out.requires_grad:
            weights = np.cos(np.arange(out.numel()) + 1.0).reshape(out.shape)
            part = (out * minidl.tensor(weights, dtype=out.dtype)).sum()
            total = part if total is None else total + part
    return total


def first_order(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The step: outputs; gradients come to the .grad of arguments and parameters."""
    if isinstance(function, nn.Module):
        function.zero_grad()
    outs = tensors_in(function(*args, **kwargs))
    total = projected(outs)
    if total is not None:
        total.backward()
    return outs


def second_order(function: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The step: gradients, and the gradients of a projection of them."""
    wanted = [x for x in tensors_in([args, kwargs]) if x.requires_grad]
    total = projected(tensors_in(function(*args, **kwargs)))
    if total is None or not wanted:
        return []
    grads = minidl.autograd.grad(total, wanted, create_graph=True, allow_unused=True)
    grads = [g for g in grads if g is not None]
    total = projected(grads)
    if total is None:
        return grads
    return [*grads, *minidl.autograd.grad(total, wanted, allow_unused=True)]


def after(function: Any, args: Any, outs: list[Tensor]) -> list[Any]:
    """All that a step may have changed, as arrays."""
    found: list[Any] = list(outs)
    for x in tensors_in(args):
        found += [x, x.grad]
    if isinstance(function, nn.Module):
        found += function.state_dict().values()
        found += [p.grad for p in function.parameters()]
    return [None if x is None else np.array(x.to_dense().array if isinstance(x, minidl.RowSparse)
            else x.detach().numpy()) for x in found]  # fmt: skip


def parted(got: list[Any], want: list[Any], fuse: bool) -> str:
    """Where results part, in words; "" if they do not."""
    if len(got) != len(want):
        return f"{len(got)} results for {len(want)}"
    for i, (a, b) in enumerate(zip(got, want)):
        if a is None or b is None:
            if a is not b:
                return f"result {i} is {'missing' if a is None else 'new'}"
        elif a.shape != b.shape or a.dtype != b.dtype:
            return f"result {i} is {a.dtype} {a.shape}, eager's {b.dtype} {b.shape}"
        elif fuse and a.dtype.kind == "f":
            if not np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                return f"result {i} differs by {np.nanmax(np.abs(a - b)):.1e}"
        elif not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return f"result {i} differs by {np.nanmax(np.abs(a * 1.0 - b)):.1e}, unfused"
    return ""


class Captured:
    """The script's check of one sample, with a captured step after the eager one."""

    def __init__(self, script: types.ModuleType, eager: Callable[..., Any], step: Any):
        self.script, self.eager, self.step = script, eager, step
        self.refused: Counter[str] = Counter()  # what could not be captured, and why
        self.anew: Counter[str] = Counter()  # what was recorded again where it could be replayed

    def __call__(self, theirs: Any, args: Any, kwargs: Any, ours: Any) -> str | None:
        twin = copy.deepcopy(ours) if isinstance(ours, nn.Module) else ours
        why = self.eager(theirs, args, kwargs, ours)
        if why is not None:
            return why if why == "SKIP" else f"eager: {why}"
        for fuse in (False, True):
            try:
                why = self.replayed(twin, args, kwargs, fuse)
            except CaptureError as error:
                self.refused[f"{_name(ours)}: {error}"] += 1
                return None
            if why:
                return f"captured: {why}"
        return None

    def replayed(self, function: Any, args: Any, kwargs: Any, fuse: bool) -> str:
        """Where replays part from eager, or ""."""
        eager, own = (copy.deepcopy(function) if isinstance(function, nn.Module) else function
                      for _ in range(2))  # fmt: skip
        whole = self.can_turn(function, args, kwargs)
        step = minidl.capture(lambda a, k: self.step(own, a, k), fuse=fuse)
        for count, by in enumerate(ROUNDS):
            found = []
            for f, run in ((eager, lambda a, k: self.step(eager, a, k)), (own, step)):
                given = self.script.give(turned([list(args), dict(kwargs)], by, whole))
                minidl.manual_seed(count)
                found.append(after(f, given, run(*given)))
            if why := parted(found[1], found[0], fuse):
                return f"{why} (call {count + 1}, {step.replays} replayed)"
        if not step.replays:
            self.anew[_name(function)] += 1
        return ""

    def can_turn(self, function: Any, args: Any, kwargs: Any) -> bool:
        """Whether indices and masks may trade places: offsets must rise, lengths must fit."""
        try:
            for by in ROUNDS:
                given = self.script.give(turned([list(args), dict(kwargs)], by, True))
                self.step(copy.deepcopy(function), *given)
        except (ValueError, IndexError, RuntimeError):
            return False
        return True


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


class _Network(nn.Module):
    """A table and two layers: dense gradients, and row-sparse ones if asked for."""

    def __init__(self, sparse: bool):
        super().__init__()
        self.table = nn.Embedding(9, 6, sparse=sparse, dtype=minidl.float64)
        self.layers = nn.Sequential(
            nn.Linear(6, 8, dtype=minidl.float64), nn.Tanh(), nn.Linear(8, 3, dtype=minidl.float64)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.table(x))


def trained(form: Any, settings: dict[str, Any], captured: bool, fuse: bool = False) -> list[Any]:
    """Losses and weights over STEPS steps of training, the learning rate changed at each."""
    minidl.manual_seed(0)
    sparse = form is optim.SparseAdam
    model = _Network(sparse)
    groups = model.table.parameters() if sparse else model.parameters()
    if form is optim.Muon:
        groups = [p for p in model.layers.parameters() if p.ndim == 2]
    optimizer = form(list(groups), **settings)
    schedule = optim.lr_scheduler.ExponentialLR(optimizer, 0.8)

    def step(x: Tensor, y: Tensor) -> Tensor:
        model.zero_grad()
        loss = minidl.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step(*[lambda: loss] if form is optim.LBFGS else [])  # which is refused
        schedule.step()
        return loss

    run = minidl.capture(step, fuse=fuse) if captured else step
    rng, found = np.random.default_rng(0), []
    for _ in range(STEPS):
        x, y = rng.integers(0, 9, 5), rng.standard_normal((5, 3))
        found.append(np.array(run(minidl.tensor(x), minidl.tensor(y)).detach().numpy()))
        found += [p.detach().numpy().copy() for p in model.parameters()]
    if captured and run.replays != STEPS - 2:
        raise AssertionError(f"{run.replays} of {STEPS - 2} calls were replayed")
    return found


def optimizers(script: types.ModuleType, only: str | None) -> tuple[dict[str, Any], Counter[str]]:
    """({name: (state, why, passed, samples)}, what was refused)."""
    results: dict[str, Any] = {}
    refused: Counter[str] = Counter()
    samples: dict[str, list[dict[str, Any]]] = {"Lion": [{}], "Muon": [{}], "Adafactor": [{}]}
    for info in script.optim_db:
        name = info.optim_cls.__name__
        if name not in script.OPTIMS:
            continue
        for given in info.optim_inputs_func(device="cpu"):
            settings = {key: value for key, value in given.kwargs.items() if key not in _TORCHS}
            if not any(isinstance(value, script.torch.Tensor) for value in settings.values()):
                samples.setdefault(name, []).append(settings)
    for name, given in samples.items():
        if only not in (None, name):
            continue
        form, passed, first = getattr(optim, name), 0, ""
        for settings in given:
            why = ""
            try:
                eager = [] if form is optim.LBFGS else trained(form, settings, False)
                for fuse in (False, True):
                    why = why or parted(trained(form, settings, True, fuse), eager, fuse)
            except CaptureError as error:
                refused[f"{name}: {error}"] += 1
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
            passed += not why
            first = first or (f"{settings}: {why}" if why else "")
        state = "pass" if passed == len(given) else "partial" if passed else "fail"
        results[name] = state, first, passed, len(given)
    return results, refused


def main(argv: list[str] | None = None) -> int:
    """Print what fails and what is refused; 1 if anything fails."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks quality captured", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("script", type=Path, help="opinfo_parity.py")
    parser.add_argument("--what", choices=("ops", "gradgrad", "modules", "optim"), default="ops")
    parser.add_argument("--only", metavar="NAME")
    parser.add_argument("-v", action="store_true", help="those that pass as well")
    args = parser.parse_args(argv)
    if not args.script.is_file():
        parser.error(f"no such file: {args.script}")
    only = ["--only", args.only] if args.only else []
    script = functions_of(args.script, "--what", args.what, *only)
    anew: Counter[str] = Counter()
    if args.what == "optim":
        results, refused = optimizers(script, args.only)
    else:
        second = args.what == "gradgrad"
        check = Captured(script, script.compare2 if second else script.compare,
                         second_order if second else first_order)  # fmt: skip
        if args.what == "modules":
            script.compare = check
            results = script.run_modules()
        else:
            results = script.run_ops(check, second)
        refused, anew = check.refused, check.anew
    for name, (state, why, passed, samples) in results.items():
        if args.v or state != "pass":
            print(f"{name:48s} {state:8s} {passed}/{samples} {why}")
    for text, count in refused.items():
        print(f"refused, {count} samples: {text}")
    for text, count in anew.items():
        print(f"never replayed, {count} samples: {text}")
    good = sum(state == "pass" for state, *_ in results.values())
    passed, samples = (sum(row[i] for row in results.values()) for i in (2, 3))
    print(f"{args.what}, captured: {good}/{len(results)} pass whole, {passed}/{samples} samples, "
          f"{sum(refused.values())} of them refused")  # fmt: skip
    return int(good < len(results))


if __name__ == "__main__":
    raise SystemExit(main())
