"""L-BFGS: steps along a direction that the last changes of the gradient have bent."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minidl._tensor import Tensor
from minidl.autograd import enable_grad
from minidl.optim.line_search import strong_wolfe
from minidl.optim.optimizer import Optimizer, check_range, state_dtype
from minidl.sparse import RowSparse
from minidl.typing import Array

_TENSORS = ("d", "prev_flat_grad", "old_dirs", "old_stps")


class LBFGS(Optimizer):
    """L-BFGS (Nocedal & Wright 2006, Numerical optimization, algorithms 7.4 and 7.5).

        x = all parameters as one vector;  g = gradient there
        d = -H g,  H the inverse Hessian as the last `history_size` pairs tell it:
            s = change of x, y = change of g, kept if y s > 1e-10; H_0 = (s y) / (y y)
        x = x + t d,   t = lr (at the very first step lr min(1, 1 / |g|_1)), or, with
                       line_search_fn="strong_wolfe", found by that search starting there

    A call of step(closure) makes up to max_iter of these iterations, and evaluates the closure up
    to max_eval times (max_iter 5/4 if None). It ends sooner where max |g| <= tolerance_grad, or
    where the step or the change of the loss falls under tolerance_change. The closure is needed:
    it zeroes the gradients, computes the loss, calls backward and returns the loss, the same
    function of the parameters each time (no new batch, no dropout). Returns the loss at the start.

    One parameter group only. Memory: 2 history_size + a few vectors. A RowSparse gradient counts
    as the dense one it stands for.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError(
                f"LBFGS: one group of parameters, got {len(self.param_groups)}: all of them are "
                "one vector with one step"
            )
        self._params: list[Tensor] = self.param_groups[0]["params"]

    def _check(self, group: Mapping[str, Any]) -> None:
        check_range("LBFGS", "lr", group["lr"], 0.0, None)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                "LBFGS: line_search_fn must be None or 'strong_wolfe', got "
                f"{group['line_search_fn']!r}"
            )
        if group.get("decoupled_decay") or group.get("l1_decay"):
            raise ValueError("LBFGS: no decay by group; add the penalty to the closure's loss")

    # all parameters as one vector

    def _gradient(self) -> Array:
        return np.concatenate([_flat_gradient(p) for p in self._params])

    def _values(self) -> list[Array]:
        return [p.array.copy() for p in self._params]

    def _move(self, t: float, direction: Array, start: list[Array] | None = None) -> None:
        """Parameters to start + t direction; from where they are if start is None."""
        at = 0
        for i, p in enumerate(self._params):
            base = p.array if start is None else start[i]
            change = direction[at : at + base.size].reshape(base.shape)
            p.array[...] = base + change.dtype.type(t) * change
            p.version[0] += 1
            at += base.size

    # the step

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to max_iter iterations; returns the closure's loss before them."""
        if closure is None:
            raise TypeError(
                "LBFGS.step needs a closure that zeroes gradients, computes the loss, calls "
                "backward and returns the loss"
            )

        def evaluate() -> tuple[Any, float, Array]:
            with enable_grad():
                loss = closure()
            return loss, float(loss), self._gradient()

        group, state = self.param_groups[0], self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first, loss, grad = evaluate()
        state["func_evals"] += 1
        if _largest(grad) <= group["tolerance_grad"]:
            return first
        evaluations = 1
        for i in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            before, state["prev_flat_grad"], state["prev_loss"] = loss, grad.copy(), loss
            lr = float(group["lr"])
            start = state["n_iter"] == 1
            t = min(1.0, 1.0 / float(np.abs(grad).sum())) * lr if start else lr
            state["t"] = t
            slope = float(grad @ direction)
            if slope > -group["tolerance_change"]:
                break  # no way down
            used = 0
            if group["line_search_fn"] is not None:
                origin = self._values()

                def along(t: float, direction: Array = direction, origin: Any = origin) -> Any:
                    self._move(t, direction, origin)
                    return evaluate()[1:]

                left = group["max_eval"] - evaluations
                loss, grad, t, used = strong_wolfe(
                    along, t, direction, loss, grad, slope, max_evaluations=left
                )
                self._move(t, direction, origin)
                state["t"] = t
            else:
                self._move(t, direction)
                if i < group["max_iter"]:  # else nobody asks for the loss there
                    _, loss, grad = evaluate()
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or _largest(grad) <= group["tolerance_grad"]
                or _largest(direction) * t <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], grad: Array, history: int) -> Array:
        """-H g by the two loops of algorithm 7.4; H is brought up to date first."""
        if state["n_iter"] == 1:
            state.update(d=-grad, old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return state["d"]
        # the changes since the last iteration; torch's names: old_dirs are the y, old_stps the s
        y, s = grad - state["prev_flat_grad"], state["d"] * grad.dtype.type(state["t"])
        bend = float(y @ s)
        if bend > 1e-10:
            if len(state["old_dirs"]) == history:
                for kept in ("old_dirs", "old_stps", "ro"):
                    state[kept].pop(0)
            state["old_dirs"].append(y)
            state["old_stps"].append(s)
            state["ro"].append(1.0 / bend)
            state["H_diag"] = bend / float(y @ y)
        pairs = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
        real, q, alphas = grad.dtype.type, -grad, []
        for y, s, rho in reversed(pairs):
            alphas.append(float(s @ q) * rho)
            q -= real(alphas[-1]) * y
        q *= real(state["H_diag"])
        for (y, s, rho), alpha in zip(pairs, reversed(alphas)):
            q += real(alpha - float(y @ q) * rho) * s
        state["d"] = q
        return q

    # state: vectors, kept under the first parameter as in torch

    def state_dict(self) -> dict[str, Any]:
        full = super().state_dict()
        for state in full["state"].values():
            for name in _TENSORS:
                if name in state:
                    state[name] = _each(state[name], lambda array: Tensor(array))
        return full

    def _restored(self, entry: str, value: Any, p: Tensor) -> Any:
        if value is None or entry == "al":  # torch keeps its scratch list
            return None
        if entry in _TENSORS:
            return _each(
                value, lambda v: np.array(v.numpy() if hasattr(v, "numpy") else v, state_dtype(p))
            )
        if entry == "ro":
            return [float(number) for number in value]
        number = float(value)
        return int(number) if entry in ("func_evals", "n_iter") else number


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    return [change(v) for v in value] if isinstance(value, (list, tuple)) else change(value)


def _flat_gradient(p: Tensor) -> Array:
    if p.grad is None:
        return np.zeros(p.array.size, state_dtype(p))
    array = p.grad.to_dense() if isinstance(p.grad, RowSparse) else p.grad.array
    return np.array(array, state_dtype(p)).reshape(-1)


def _largest(vector: Array) -> float:
    return float(np.abs(vector).max()) if vector.size else -math.inf
