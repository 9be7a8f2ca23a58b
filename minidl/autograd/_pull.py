"""What the transformations of functions share: inputs of their own, and cotangents pulled back.

A transformation gives its function new tensors in place of the arguments: aliases, which hang on
the arguments' own history, or leaves. So its gradients stop there, .grad stays as it was, and an
outer transformation can differentiate the inner one. `Pull` knows whether anything outside could
ask for such a derivative: if not, the quick backward of fused ops is used and no graph is kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl._apply import apply1, refresh
from minidl._tensor import Node, Tensor, _mode
from minidl._walk import _walk
from minidl.ops.elementwise import Alias
from minidl.sparse import RowSparse

Rebuild = Callable[[Sequence[Any]], Any]


def flatten(tree: Any) -> tuple[list[Any], Rebuild]:
    """The leaves of nested tuples, lists and dicts in order, and a function that puts new ones in.

    Everything else, None too, is a leaf.
    """
    if isinstance(tree, dict):
        keys = list(tree)
        leaves, rebuild = flatten([tree[key] for key in keys])
        return leaves, lambda new: type(tree)(zip(keys, rebuild(new)))
    if not isinstance(tree, (tuple, list)):
        return [tree], lambda new: new[0]
    parts = [flatten(branch) for branch in tree]
    sizes = [len(part) for part, _ in parts]

    def rebuild_all(new: Sequence[Any]) -> Any:
        made, at = [], 0
        for size, (_, rebuild) in zip(sizes, parts):
            made.append(rebuild(new[at : at + size]))
            at += size
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*made)
        return type(tree)(made)

    return [leaf for part, _ in parts for leaf in part], rebuild_all


def tensors_only(name: str, what: str, leaves: Sequence[Any]) -> None:
    """Raise unless all leaves are floating-point Tensors."""
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"{name}: {what} must be a Tensor, got {type(leaf).__name__}")
        if leaf.dtype.kind != "f":
            raise TypeError(f"{name}: {what} must be floating point to be differentiated, got "
                            f"{leaf.dtype}")  # fmt: skip


def own(x: Tensor) -> Tensor:
    """x as an input of a transformation's own: an alias on x's history, or a leaf."""
    if x.origin is not None:
        refresh(x)
    if x.requires_grad and _mode.grad:
        return apply1(Alias, x)
    leaf = Tensor(x.array, requires_grad=True)
    leaf.version = x.version  # so that a change of x in place is noticed
    return leaf


class Pull:
    """Outputs of a function of `inputs`, from which cotangents are pulled back to the inputs.

    recording: whether the caller records, so that what is pulled may be asked for its derivative.
    """

    def __init__(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor], recording: bool):
        self.outputs, self.inputs = list(outputs), list(inputs)
        self.outside = self._reaches_outside()
        self.hangs = recording and self.outside

    def _reaches_outside(self) -> bool:
        """Whether the outputs depend on a tensor with a gradient besides the inputs."""
        mine = {id(x.node or x) for x in self.inputs}
        if any(x.node is not None for x in self.inputs):
            return True  # an alias
        for out in self.outputs:
            if out.origin is not None:
                refresh(out)
        waiting: list[Any] = [out.node or out for out in self.outputs if out.requires_grad]
        seen: set[int] = set()
        while waiting:
            place = waiting.pop()
            if id(place) in mine or id(place) in seen:
                continue
            seen.add(id(place))
            if not isinstance(place, Node):
                return True
            waiting += [parent for parent in place.parents if parent is not None]
        return False

    def back(
        self, cotangents: Sequence[Any], keep: bool, create_graph: bool | None = None
    ) -> list[Any]:
        """The gradients of the inputs, None where the outputs do not depend on one.

        keep: the graph will be used again. create_graph: None as the surroundings need it.
        """
        if create_graph is None:
            starting = any(isinstance(c, Tensor) and c.requires_grad for c in cotangents)
            create_graph = self.hangs or (starting and _mode.grad)
        pairs = [(o, c) for o, c in zip(self.outputs, cotangents) if o.requires_grad]
        if not pairs:
            return [None] * len(self.inputs)
        outputs, starts = [list(part) for part in zip(*pairs)]
        keep = keep or self.outside or create_graph
        found = _walk(outputs, starts, self.inputs, keep, create_graph, stop_at_wanted=True)
        parts = [found.get(id(x.node or x)) for x in self.inputs]
        return [None if part is None else _as_tensor(part[1]) for part in parts]

    def value(self, out: Tensor) -> Tensor:
        """An output for the caller: on the outer tape if it belongs there."""
        return out if self.hangs else out.detach()


def _as_tensor(part: Any) -> Tensor:
    if isinstance(part, RowSparse):
        part = part.to_dense()
    return part if isinstance(part, Tensor) else Tensor(np.array(part))


def zeros_like(x: Tensor) -> Tensor:
    return Tensor(np.zeros_like(x.array))


class Push:
    """J v, exactly, by pulling back twice: J^T u is linear in u, and its derivative is J v.

    u is a random vector, for ops with a singular derivative give 0 where u is 0.
    """

    def __init__(self, pull: Pull):
        self.pull = pull
        rng = np.random.default_rng(0)
        self.probes = [
            Tensor(np.asarray(rng.uniform(0.5, 1.5, o.shape)).astype(o.dtype), requires_grad=True)
            for o in pull.outputs
        ]
        self.pulled = pull.back(self.probes, True, True)

    def forward(self, tangents: Sequence[Tensor], strict: str = "") -> list[Tensor]:
        """J v for the inputs' v. strict: the name for an error where an output is independent."""
        pull = self.pull
        pairs = [(g, v) for g, v in zip(self.pulled, tangents) if g is not None and g.requires_grad]
        linear = Pull([g for g, _ in pairs], self.probes, False)
        linear.outside = True  # the first graph is needed again
        on_tape = pull.hangs or (_mode.grad and any(v.requires_grad for v in tangents))
        pushed = linear.back([v for _, v in pairs], True, on_tape)
        if strict and any(part is None for part in pushed):
            raise RuntimeError(
                f"{strict}: output {pushed.index(None)} does not depend on the inputs (strict=True)"
            )
        return [zeros_like(o) if p is None else p for p, o in zip(pushed, pull.outputs)]
