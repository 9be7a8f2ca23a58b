"""Pruning by masks, with the names of torch.nn.utils.prune.

    prune.l1_unstructured(layer, "weight", amount=0.3)      # the 30 % of least size become 0
    prune.remove(layer, "weight")                           # for good

While a tensor is pruned, `<name>_orig` is the parameter that is learned, `<name>_mask` a buffer of
ones and zeros, and `<name>` their product, computed before each forward; gradients of pruned
elements are 0. amount: a share from 0 to 1, or a whole number of elements (channels). Pruning again
counts among what is left. Han et al. 2015, arXiv:1506.02626.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minidl import random
from minidl._tensor import Tensor
from minidl.autograd import no_grad
from minidl.nn.module import Module
from minidl.typing import Array

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured",
    "PruningContainer", "RandomStructured", "RandomUnstructured", "custom_from_mask",
    "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod(ABC):
    """Base of the methods; a subclass says which elements stay, in `compute_mask`.

    PRUNING_TYPE: "unstructured" sees the elements that are left, "structured" the channels,
    "global" everything.
    """

    PRUNING_TYPE: str = "unstructured"
    _tensor_name: str

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask (1 stays, 0 goes) for the scores t, where default_mask is 0 already."""

    def apply_mask(self, module: Module) -> Tensor:
        """<name>_orig times <name>_mask."""
        mask = getattr(module, self._tensor_name + "_mask")
        return getattr(module, self._tensor_name + "_orig") * mask

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> "BasePruningMethod":
        """Prune module.<name> by cls(*args, **kwargs), on top of what was pruned before."""
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        before = _method_of(module, name)
        if before is None:
            original = module._parameters.get(name)
            if original is None:
                raise ValueError(f"prune: {type(module).__name__} has no parameter {name!r}")
            default = Tensor(np.ones_like(original.array))
        else:
            original = getattr(module, name + "_orig")
            default = getattr(module, name + "_mask").detach().clone()
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise ValueError(
                f"prune: importance_scores {scores.shape} must have the shape {original.shape} of "
                f"{name!r}"
            )
        if before is not None:
            module._pre_hooks.remove(before)
            method = PruningContainer(before, method)
        with no_grad():
            mask = method.compute_mask(scores.detach(), default)
        if name in module._parameters:
            del module._parameters[name]
            module.register_parameter(name + "_orig", original)
            module.register_buffer(name + "_mask", mask)
        else:
            module._buffers[name + "_mask"] = mask
        method(module, ())
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """A tensor with its mask applied, without a module."""
        default = Tensor(np.ones_like(t.array)) if default_mask is None else default_mask
        scores = t if importance_scores is None else importance_scores
        return t * self.compute_mask(scores.detach(), default)

    def remove(self, module: Module) -> None:
        """Put the pruned tensor in the place of original and mask; zeros can then be learned."""
        name = self._tensor_name
        with no_grad():
            value = self.apply_mask(module)
        original = getattr(module, name + "_orig")
        original.array[...] = value.array
        original.version[0] += 1
        delattr(module, name)
        delattr(module, name + "_orig")
        delattr(module, name + "_mask")
        module.register_parameter(name, original)


class PruningContainer(BasePruningMethod):
    """Methods applied one after the other to one tensor; the last one decides the next mask."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, *methods: BasePruningMethod):
        self._methods: list[BasePruningMethod] = []
        for method in methods:
            self._methods += method if isinstance(method, PruningContainer) else [method]
        self._tensor_name = self._methods[-1]._tensor_name

    def __len__(self) -> int:
        return len(self._methods)

    def __iter__(self) -> Any:
        return iter(self._methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        method, mask = self._methods[-1], default_mask.array
        if method.PRUNING_TYPE == "global":
            left: Any = (slice(None),) * t.ndim
        elif method.PRUNING_TYPE == "structured":
            axis = method.dim % t.ndim  # type: ignore[attr-defined]
            others = tuple(a for a in range(t.ndim) if a != axis)
            alive = np.flatnonzero((mask != 0).any(axis=others))
            left = (slice(None),) * axis + (alive,)
        else:
            left = mask == 1
        out = mask.copy()
        part = method.compute_mask(Tensor(t.array[left]), Tensor(mask[left]))
        out[left] = part.array
        return Tensor(out)


def _count(name: str, amount: float, size: int, what: str) -> int:
    """How many of `size` go."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
        raise ValueError(f"prune: amount must be a share from 0 to 1 or a count, got {amount!r}")
    if isinstance(amount, int):
        if amount > size:
            raise ValueError(f"prune: amount {amount} is more than the {size} {what} of {name!r}")
        return amount
    if amount > 1:
        raise ValueError(f"prune: a share must be from 0 to 1, got {amount}")
    return round(amount * size)


class _Amount(BasePruningMethod):
    def __init__(self, amount: float):
        _count("", amount, 2**62, "elements")
        self.amount = amount

    def _named(self) -> str:
        return getattr(self, "_tensor_name", "the tensor")


class Identity(BasePruningMethod):
    """All stays: only the form with original and mask is made."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class RandomUnstructured(_Amount):
    """Elements drawn from minidl's default generator go."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        mask = default_mask.array.copy()
        count = _count(self._named(), self.amount, mask.size, "elements")
        drawn = random.default_generator.permutation(mask.size)[:count]
        mask.reshape(-1)[drawn] = 0
        return Tensor(mask)


class L1Unstructured(_Amount):
    """The elements of least absolute value go; of equal ones the first."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        mask = default_mask.array.copy()
        count = _count(self._named(), self.amount, mask.size, "elements")
        order = np.argsort(np.abs(t.array).reshape(-1), kind="stable")
        mask.reshape(-1)[order[:count]] = 0
        return Tensor(mask)


class _Structured(_Amount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: float, dim: int = -1):
        super().__init__(amount)
        self.dim = dim

    def _without(self, default_mask: Tensor, gone: Array, axis: int) -> Tensor:
        mask = default_mask.array.copy()
        mask[(slice(None),) * axis + (gone,)] = 0
        return Tensor(mask)

    def _axis_and_count(self, t: Tensor) -> tuple[int, int]:
        if t.ndim < 2:
            raise ValueError(
                f"prune: channels need a tensor of two axes or more, got {t.shape}; use an "
                "unstructured method"
            )
        if not -t.ndim <= self.dim < t.ndim:
            raise IndexError(f"prune: dim {self.dim} of a tensor of shape {t.shape}")
        axis = self.dim % t.ndim
        return axis, _count(self._named(), self.amount, t.shape[axis], "channels")


class RandomStructured(_Structured):
    """Whole channels along `dim`, drawn from minidl's default generator, go."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        axis, count = self._axis_and_count(t)
        drawn = random.default_generator.permutation(t.shape[axis])[:count]
        return self._without(default_mask, drawn, axis)


class LnStructured(_Structured):
    """The channels along `dim` with the least norm of order n go."""

    def __init__(self, amount: float, n: float, dim: int = -1):
        super().__init__(amount, dim)
        self.n = float(n)

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        axis, count = self._axis_and_count(t)
        rows = np.moveaxis(t.array, axis, 0).reshape(t.shape[axis], -1)
        norms = np.linalg.norm(rows, ord=self.n, axis=1)
        return self._without(default_mask, np.argsort(norms, kind="stable")[:count], axis)


class CustomFromMask(BasePruningMethod):
    """What a given mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor):
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if self.mask.shape != default_mask.shape:
            raise ValueError(
                f"prune: the mask {self.mask.shape} must have the tensor's shape "
                f"{default_mask.shape}"
            )
        return Tensor(default_mask.array * self.mask.array.astype(default_mask.dtype))


def identity(module: Module, name: str) -> Module:
    """The form with original and mask, with nothing pruned."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: float) -> Module:
    """Prune elements at random."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: float, importance_scores: Tensor | None = None
) -> Module:
    """Prune the elements of least absolute value, or of least importance_scores."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: float, dim: int) -> Module:
    """Prune channels along `dim` at random."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: float,
    n: float,
    dim: int,
    importance_scores: Tensor | None = None,
) -> Module:
    """Prune the channels along `dim` with the least norm of order n."""
    LnStructured.apply(
        module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
    )
    return module


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune where `mask` is 0."""
    CustomFromMask.apply(module, name, mask=mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: Mapping[tuple[Module, str], Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several tensors as if they were one: amount is of all their elements together."""
    places = list(parameters)
    scores = importance_scores or {}
    originals, masks, values = [], [], []
    for module, name in places:
        pruned = _method_of(module, name) is not None
        original = getattr(module, name + "_orig" if pruned else name)
        originals.append(original)
        mask = getattr(module, name + "_mask").array if pruned else np.ones_like(original.array)
        masks.append(mask.reshape(-1))
        values.append(scores.get((module, name), original).array.reshape(-1))
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f"global_unstructured: an unstructured method is needed, got {pruning_method.__name__}"
        )
    method._tensor_name = "all parameters"
    container = PruningContainer(method)
    whole = container.compute_mask(Tensor(np.concatenate(values)), Tensor(np.concatenate(masks)))
    at = 0
    for (module, name), original in zip(places, originals):
        size = original.array.size
        custom_from_mask(module, name, Tensor(whole.array[at : at + size].reshape(original.shape)))
        at += size


def remove(module: Module, name: str) -> Module:
    """Make the pruning of module.<name> permanent: one parameter again, without mask and hook."""
    method = _method_of(module, name)
    if method is None:
        raise ValueError(f"prune.remove: {name!r} of {type(module).__name__} is not pruned")
    method.remove(module)
    module._pre_hooks.remove(method)
    return module


def is_pruned(module: Module) -> bool:
    """Whether anything in the module, or below it, is pruned."""
    return any(isinstance(h, BasePruningMethod) for m in module.modules() for h in m._pre_hooks)


def _method_of(module: Module, name: str) -> BasePruningMethod | None:
    for hook in module._pre_hooks:
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            return hook
    return None
