"""Optimizer: parameter groups, state by parameter, one step over all of them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidl import kernels
from minidl._tensor import Tensor
from minidl.autograd import enable_grad
from minidl.optim._tables import Table, Tables, run_together
from minidl.sparse import RowSparse
from minidl.typing import Array

# of a saved group: its parameters are numbers, the others say how torch computes, not what
_NOT_TAKEN = {"params", "foreach", "fused", "capturable", "differentiable"}
_FLOAT16, _FLOAT32 = np.dtype("float16"), np.dtype("float32")


class Optimizer:
    """Base of all optimizers, with torch.optim's groups and state_dict.

        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        optimizer.zero_grad(); loss.backward(); optimizer.step()

    params: tensors, (name, tensor) pairs, or groups: dicts with "params" and settings that differ
    from the defaults. param_groups: the groups with all their settings, which may be changed
    between steps. state: a dict for each parameter that has been stepped. Parameters are float32
    or float64 leaves; each is changed in place, in one pass over gradient, state and parameter.
    float16 ones are stepped as float32, with float32 states, and rounded back: a change of less
    than half a unit in the last place (about 0.0002 of the value) is then lost.

    Any group may have two settings more, for every optimizer (`decay_groups` makes such groups):

        decoupled_decay     param = (1 - lr decoupled_decay) param  before the step: L2 decay that
                            no momentum and no scaling sees (Loshchilov & Hutter 2019)
        l1_decay            param = sign(param) max(|param| - lr l1_decay, 0)  after the step: the
                            proximal step of an L1 penalty (Duchi & Singer 2009, JMLR 10, FOBOS)

    Both are of a whole parameter, also where a RowSparse gradient names few of its rows.

    A subclass says what is computed: `_numbers` reads a group's settings once a step. Either
    `_kernel` names a kernel that steps all parameters of a group in one call, and `_prepare` gives
    each parameter's states; or `_update` is the step of one whole parameter, all arrays flat.
    `_update_rows`, if the mathematics allows, is that of a table of which a RowSparse names few
    rows.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        if isinstance(params, (Tensor, Mapping)):
            raise TypeError(
                f"{type(self).__name__}: params must be an iterable of tensors or groups, got "
                f"one {type(params).__name__}; write [it]"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._tables = Tables()
        groups = list(params)
        if not groups:
            raise ValueError(
                f"{type(self).__name__}: the list of parameters is empty; a generator such as "
                "model.parameters() can be used only once"
            )
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Parameters to be stepped with settings of their own; what is left out is the default."""
        name = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{name}: a parameter group is a dict with the key 'params'")
        group = dict(param_group)
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            group["param_names"] = [pair[0] for pair in params]
            params = [pair[1] for pair in params]
        for i, p in enumerate(params):
            self._check_parameter(i, p)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if len({id(p) for p in params} - known) < len(params):
            raise ValueError(
                f"{name}: a parameter appears more than once; it would be stepped twice. Give "
                "each to one group"
            )
        group["params"] = params
        full = self.defaults | group
        for setting in ("decoupled_decay", "l1_decay"):
            check_range(name, setting, full.get(setting, 0), 0.0, None)
        self._check(full)
        self.param_groups.append(full)

    def _check_parameter(self, i: int, p: Any) -> None:
        name = type(self).__name__
        if not isinstance(p, Tensor):
            raise TypeError(
                f"{name}: parameter {i} must be a Tensor, got {type(p).__name__}; "
                "give model.parameters(), or all of them as groups"
            )
        if p.node is not None:
            raise ValueError(f"{name}: parameter {i} {p.shape} is not a leaf: it was computed")
        if p.dtype.kind != "f":
            raise TypeError(f"{name}: parameter {i} must be floating point, got {p.dtype}")

    # what a subclass says

    _kernel: str | None = None  # of `kernels.update`, for all parameters of a group
    _scalars: tuple[str, ...] = ("step",)  # states that are one number, whatever the shape

    def _check(self, group: Mapping[str, Any]) -> None:
        """Raise ValueError for settings out of range."""

    def _numbers(self, group: Mapping[str, Any]) -> tuple[Any, ...]:
        """A group's settings, as the kernel or `_update` gets them."""
        raise NotImplementedError

    def _prepare(
        self, p: Tensor, state: dict[str, Any], group: Mapping[str, Any]
    ) -> tuple[tuple[Array | None, ...], tuple[float, ...]]:
        """Make what p's state lacks and count the step; its arrays and numbers for the kernel."""
        raise NotImplementedError

    def _update(
        self,
        p: Tensor,
        grad: Array,
        param: Array,
        state: dict[str, Any],
        group: Mapping[str, Any],
        numbers: tuple[Any, ...],
    ) -> None:
        """One step of a whole parameter p, given flat: grad, param (N,)."""
        states, each = self._prepare(p, state, group)
        run_together(getattr(kernels, str(self._kernel)), [(grad, param, *states)], [each], numbers)

    def _update_rows(
        self,
        p: Tensor,
        rows: Array,
        values: Array,
        table: Array,
        state: dict[str, Any],
        group: Mapping[str, Any],
        numbers: tuple[Any, ...],
    ) -> bool:
        """One step of the rows (M,), each once, of p's table (V, D); values (M, D).

        False, with nothing changed: the settings ask for the dense step.
        """
        return False

    # the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters that have a gradient; returns the closure's loss.

        closure: computes the loss anew and calls backward.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for number, group in enumerate(self.param_groups):
            params = [p for p in group["params"] if p.grad is not None]
            decay, l1 = group.get("decoupled_decay", 0), group.get("l1_decay", 0)
            if decay:
                for p in params:
                    p.array[...] *= p.dtype.type(1 - float(group["lr"]) * decay)
            self._step_group(number, group, params)
            if l1:
                for p in params:
                    _shrink(p.array, float(group["lr"]) * l1)
        return loss

    def _step_group(self, number: int, group: dict[str, Any], params: list[Tensor]) -> None:
        """One step of these parameters of a group: in one call what is contiguous and dense."""
        numbers = self._numbers(group)
        together: dict[Any, list[tuple[Tensor, Array]]] = {}  # by dtype
        for p in params:
            grad: Any = p.grad
            array = p.array
            if grad.shape != array.shape:
                raise ValueError(
                    f"{type(self).__name__}: the gradient {grad.shape} does not fit the parameter "
                    f"{p.shape}; call zero_grad() after changing a parameter's shape"
                )
            dtype = array.dtype
            alone = self._kernel is None or isinstance(grad, RowSparse) or dtype == _FLOAT16
            if alone or not array.flags.carray:
                self._step_one(p, grad, group, numbers)
                continue
            flat = grad.array
            if flat.dtype is not dtype or not flat.flags.carray:
                flat = np.require(flat, dtype, ["C", "A"])
            if dtype in together:
                together[dtype].append((p, flat))
            else:
                together[dtype] = [(p, flat)]
        for dtype, members in together.items():
            owned: list[Any] = []
            every = []
            for p, _ in members:
                p.version[0] += 1
                states, each = self._prepare(p, self.state[p], group)
                owned.append(p.array)
                owned += states
                every.append(each)
            table = self._tables.get((number, dtype))
            if table is None or not table.fits(owned):
                table = self._tables[number, dtype] = Table(owned, len(members))
            grads = [grad for _, grad in members]
            table.call(getattr(kernels, str(self._kernel)), grads, every, numbers)

    def _step_one(
        self, p: Tensor, grad: Any, group: dict[str, Any], numbers: tuple[Any, ...]
    ) -> None:
        state, array = self.state[p], p.array
        dtype = state_dtype(p)
        whole = array.flags.carray and array.dtype == dtype
        # else step a copy and write it back
        target = array if whole else np.require(array, dtype, ["C", "A", "W"])
        p.version[0] += 1
        if not isinstance(grad, RowSparse):
            flat_grad = np.require(grad.array, dtype, ["C", "A"]).reshape(-1)
            self._update(p, flat_grad, target.reshape(-1), state, group, numbers)
        else:
            self._step_table(p, grad, target, state, group, numbers)
        if not whole:
            array[...] = target

    def _step_table(
        self, p: Tensor, grad: RowSparse, target: Array, state: dict[str, Any],
        group: dict[str, Any], numbers: tuple[Any, ...],
    ) -> None:
        """One step of a table with a RowSparse gradient; target: its values, contiguous."""
        merged = grad.coalesced()
        width = int(np.prod(p.shape[1:], dtype=np.int64))
        values = np.ascontiguousarray(merged.values, target.dtype).reshape(-1, width)
        table = target.reshape(len(target), width)
        if not self._update_rows(p, merged.rows, values, table, state, group, numbers):
            dense = merged.to_dense().astype(target.dtype, copy=False).reshape(-1)
            self._update(p, dense, target.reshape(-1), state, group, numbers)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or set them to 0."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or not isinstance(p.grad, Tensor):
                    p.grad = None
                else:
                    p.grad.array[...] = 0

    # state

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number: state}, "param_groups": [settings with numbers for "params"]}.

        Parameters are numbered through the groups, in order. Tensors are not copied.
        """
        numbers = {id(p): i for i, p in enumerate(self._parameters())}
        groups = [{**g, "params": [numbers[id(p)] for p in g["params"]]} for g in self.param_groups]
        state = {numbers[id(p)]: dict(state) for p, state in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, from here or from torch.optim; values are copied.

        Groups must have the same numbers of parameters as here, in the same order.
        """
        name, groups = type(self).__name__, state_dict["param_groups"]
        here = [len(g["params"]) for g in self.param_groups]
        there = [len(g["params"]) for g in groups]
        if here != there:
            raise ValueError(
                f"load_state_dict of {name}: the saved groups have {there} parameters, these "
                f"{here}; make the optimizer with the groups it was saved with"
            )
        saved = [number for g in groups for number in g["params"]]
        by_number = dict(zip(saved, self._parameters()))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, values in state_dict["state"].items():
            p = by_number.get(key, by_number.get(int(key)))
            if p is None:
                raise ValueError(f"load_state_dict of {name}: state {key!r} is of no parameter")
            state[p] = {entry: self._restored(entry, v, p) for entry, v in values.items()}
        for mine, theirs in zip(self.param_groups, groups):
            mine.update({k: v for k, v in theirs.items() if k not in _NOT_TAKEN})
        self.state = state

    def _restored(self, entry: str, value: Any, p: Tensor) -> Any:
        if value is None:
            return None
        array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
        if not array.ndim and (entry in self._scalars or p.ndim):
            number = array.item()
            return int(number) if entry == "step" else number
        if array.shape != self._state_shape(entry, p):
            raise ValueError(
                f"load_state_dict of {type(self).__name__}: {entry} {array.shape} does not fit "
                f"its parameter {p.shape}; are the parameters in the order they were saved in?"
            )
        return Tensor(np.array(array, state_dtype(p), order="C"))

    def _state_shape(self, entry: str, p: Tensor) -> tuple[int, ...]:
        """The shape that a state of p has: p's own, unless a subclass says otherwise."""
        return p.shape

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params"]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def state_dtype(p: Tensor) -> np.dtype:
    """The dtype in which a parameter is stepped and its states are kept."""
    return _FLOAT32 if p.dtype == _FLOAT16 else p.dtype


def zeros(p: Tensor, value: float = 0.0, shape: tuple[int, ...] | None = None) -> Tensor:
    """A state of a parameter's shape, or of its own."""
    return Tensor(np.full(p.shape if shape is None else shape, value, state_dtype(p)))


def _shrink(array: Array, by: float) -> None:
    """sign(x) max(|x| - by, 0), in place; a NaN stays."""
    limit = array.dtype.type(by)
    array[...] -= np.clip(array, -limit, limit)


def check_range(name: str, setting: str, value: Any, low: float, below: float | None) -> None:
    """Raise unless low <= value (< below)."""
    number = float(value)
    if not (low <= number and (below is None or number < below)):
        limit = f"at least {low}" if below is None else f"from {low} to below {below}"
        raise ValueError(f"{name}: {setting} must be {limit}, got {value}")
