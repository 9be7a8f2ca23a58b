"""Modules as functions of their parameters."""

from collections.abc import Mapping, Sequence
from typing import Any

from minidl import functional as F
from minidl._tensor import Tensor
from minidl.nn.module import Module


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call the module with other tensors in place of its parameters and buffers.

    parameter_and_buffer_dicts: tensors by path, or several such dicts without a path in common;
    what is left out stays the module's own. args: one argument, or a tuple. tie_weights: what
    takes the place of one name of a shared parameter takes that of its other names too. strict:
    every path must be given, and no other. The module is unchanged afterwards; a buffer that the
    call replaced (not changed in place) is put back into the dict.
    """
    dicts = parameter_and_buffer_dicts
    listed = [dicts] if isinstance(dicts, Mapping) else list(dicts)
    given: dict[str, Tensor] = {}
    for part in listed:
        twice = set(given) & set(part)
        if twice:
            raise ValueError(
                f"functional_call: {sorted(twice)} stand in more than one of the dicts"
            )
        given.update(part)
    places = _places(module)
    unknown = [path for path in given if path not in places]
    if unknown:
        raise KeyError(
            f"functional_call: {type(module).__name__} has no parameter or buffer {unknown}"
        )
    values = dict(given)
    if tie_weights:
        for path, value in given.items():
            table, name = places[path]
            for other, (other_table, other_name) in places.items():
                if other_table[other_name] is table[name] and other not in given:
                    if other in values and values[other] is not value:
                        raise ValueError(
                            f"functional_call: two tensors for the tied parameter {other!r}"
                        )
                    values[other] = value
    if strict:
        missing = [path for path in places if path not in values]
        if missing:
            raise KeyError(f"functional_call: strict=True, and {missing} are not given")
    args = () if args is None else (args if isinstance(args, tuple) else (args,))
    before = {path: places[path][0][places[path][1]] for path in values}
    try:
        for path, value in values.items():
            table, name = places[path]
            table[name] = value
        return module(*args, **(kwargs or {}))
    finally:
        for path, own in before.items():
            table, name = places[path]
            now, table[name] = table[name], own
            if now is not values[path] and path in given:
                for part in listed:
                    if path in part and isinstance(part, dict):
                        part[path] = now


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    """The table and key of every parameter and buffer, by all of its paths."""
    places = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for table in (owner._parameters, owner._buffers):
            for name, value in table.items():
                if value is not None:
                    places[f"{path}.{name}" if path else name] = (table, name)
    return places


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(parameters, buffers) of models of one kind, each stacked on a new first axis: an ensemble.

        parameters, buffers = stack_module_state(models)
        call = lambda p, b, x: functional_call(models[0], (p, b), (x,))
        vmap(call, in_dims=(0, 0, None))(parameters, buffers, x)       (models, ...)

    The stacked parameters are leaves that require a gradient, as the models' own did.
    """
    if not models:
        raise ValueError("stack_module_state: no models")
    if len({type(m) for m in models}) > 1 or len({m.training for m in models}) > 1:
        raise ValueError(
            "stack_module_state: the models must be of one class, all in train() or all in eval()"
        )

    def stacked(each: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        out = {}
        for path in each[0]:
            tensors = [state[path] for state in each]
            whole = F.stack([t.detach() for t in tensors])
            out[path] = whole.requires_grad_(all(t.requires_grad for t in tensors))
        return out

    parameters = stacked([dict(m.named_parameters()) for m in models])
    return parameters, stacked([dict(m.named_buffers()) for m in models])
