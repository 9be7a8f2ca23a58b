"""All that can be described, by name."""

import difflib
import functools
import importlib
import inspect
from dataclasses import dataclass
from typing import Any

from minidl import functional, kernels, linalg, nn, optim
from minidl.describe.code import load_ops
from minidl.ops._op import REGISTRY

KINDS = ("layer", "loss", "optimizer", "schedule", "function", "op", "kernel")

# What may stand before a name, and the kinds it then means.
_PREFIXES = {
    "minidl.": KINDS,
    "torch.": KINDS,
    "nn.functional.": ("function",),
    "functional.": ("function",),
    "F.": ("function",),
    "nn.": ("layer", "loss"),
    "optim.": ("optimizer", "schedule"),
    "lr_scheduler.": ("schedule",),
    "linalg.": ("function",),
    "ops.": ("op",),
    "kernels.": ("kernel",),
}


@dataclass(frozen=True)
class Entry:
    """One thing with a name: its kind, the family (module) it belongs to, and itself."""

    kind: str
    name: str
    family: str
    thing: Any


def _family(thing: Any) -> str:
    return thing.__module__.rpartition(".")[2]


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Everything: layers, losses, optimizers, schedules, functions, ops, kernels."""
    load_ops()
    kernels.load_all()
    found = []
    for name in nn.__all__:
        thing = getattr(nn, name)
        if isinstance(thing, type):
            kind = "loss" if name.endswith("Loss") else "layer"
            found.append(Entry(kind, name, _family(thing), thing))
    schedules = {name: getattr(optim.lr_scheduler, name) for name in optim.lr_scheduler.__all__}
    for name in optim.__all__:
        thing = getattr(optim, name)
        if isinstance(thing, type) and name not in schedules:
            found.append(Entry("optimizer", name, _family(thing), thing))
    for name, thing in schedules.items():
        if isinstance(thing, type):
            found.append(Entry("schedule", name, "lr_scheduler", thing))
    seen = set()
    homes = [f"minidl.functional.{f}" for f in functional.FAMILIES + functional.NN_FAMILIES]
    for home in homes:
        module = importlib.import_module(home)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing) and name not in seen:
                seen.add(name)
                found.append(Entry("function", name, _family(module.__dict__[name]), thing))
    for name in linalg.__all__:
        thing = getattr(linalg, name)
        if inspect.isfunction(thing):
            found.append(Entry("function", f"linalg.{name}", "linalg", thing))
    for name, op in REGISTRY.items():
        found.append(Entry("op", name, _family(op), op))
    for name, kernel in kernels.REGISTRY.items():
        if kernel.__module__.startswith("minidl."):
            found.append(Entry("kernel", name, _family(kernel), kernel))
    return tuple(found)


def find(name: str) -> list[Entry]:
    """The entries of that name, exact before another case; a prefix such as nn. limits the kind."""
    kinds: tuple[str, ...] = KINDS
    for entry_name in (name, name.removeprefix("minidl.").removeprefix("torch.")):
        whole = [entry for entry in entries() if entry.name == entry_name]
        if whole:
            return whole
    stripped = True
    while stripped:
        stripped = False
        for prefix, allowed in _PREFIXES.items():
            if name.startswith(prefix):
                name, kinds, stripped = name[len(prefix) :], allowed, True
    of_kind = [entry for entry in entries() if entry.kind in kinds]
    last = [(entry, entry.name.rpartition(".")[2]) for entry in of_kind]
    return [entry for entry, own in last if own == name] or [
        entry for entry, own in last if own.lower() == name.lower()
    ]


def nearest(name: str, count: int = 5) -> list[str]:
    """The names most like this one."""
    by_lower = {entry.name.lower(): entry.name for entry in entries()}
    last = name.rpartition(".")[2].lower()
    found = difflib.get_close_matches(last, by_lower, count, 0.5)
    found += [n for n in by_lower if last in n and n not in found]
    return [by_lower[n] for n in found[:count]]
