"""Parameters split into groups: those that decay, and those that do not."""

from collections.abc import Sequence
from typing import Any

from minidl.nn.module import Module


def decay_groups(
    module: Module,
    weight_decay: float | None = None,
    *,
    decoupled_decay: float | None = None,
    l1_decay: float | None = None,
    no_decay: Sequence[str | type[Module]] = ("bias",),
) -> list[dict[str, Any]]:
    """Two groups for an optimizer: the module's matrices, which decay, and the rest, which do not.

        optim.AdamW(optim.decay_groups(model, weight_decay=0.1), lr=3e-4)

    Parameters with fewer than two axes (biases, scales of normalizations) never decay: what they
    do is not to be small. no_decay adds to them: ends of names ("bias", "0.weight"), and classes of
    modules, whose own parameters are meant (nn.Embedding). Parameters that do not require a
    gradient are in neither group. weight_decay: the optimizer's own; decoupled_decay, l1_decay:
    see `Optimizer`. What is not given is left out of the groups.
    """
    settings = {
        "weight_decay": weight_decay,
        "decoupled_decay": decoupled_decay,
        "l1_decay": l1_decay,
    }
    decay = {name: value for name, value in settings.items() if value is not None}
    if not decay:
        raise ValueError("decay_groups: give weight_decay, decoupled_decay or l1_decay")
    names = tuple(entry for entry in no_decay if isinstance(entry, str))
    classes = tuple(entry for entry in no_decay if not isinstance(entry, str))
    groups: list[dict[str, Any]] = [
        {"params": [], "param_names": [], **decay},
        {"params": [], "param_names": [], **dict.fromkeys(decay, 0.0)},
    ]
    seen: set[int] = set()
    for path, owner in module.named_modules():
        for name, p in owner.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            if id(p) in seen or not p.requires_grad:
                continue
            seen.add(id(p))
            spared = p.ndim < 2 or full.endswith(names) or isinstance(owner, classes)
            group = groups[1 if spared else 0]
            group["params"].append(p)
            group["param_names"].append(full)
    return groups
