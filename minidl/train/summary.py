"""A model's layers as a table: shapes, parameters, bytes."""

from dataclasses import dataclass
from typing import Any

from minidl._tensor import Tensor
from minidl.train.inference import evaluating


@dataclass(frozen=True)
class Layer:
    """A row of the table; parameters are those of the module itself, not of those inside it."""

    name: str
    kind: str
    shape: Any
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Summary:
    """What `summary` found; print it for the table."""

    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    bytes: int
    output_bytes: int

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters", "bytes")
        rows = [
            (layer.name or "(model)", layer.kind, _shown(layer.shape), f"{layer.parameters:,}",
             f"{layer.bytes:,}")
            for layer in self.layers
        ]  # fmt: skip
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in (head, *rows)
        ]
        rule = "-" * max(map(len, lines))
        total = (
            f"{self.parameters:,} parameters, {self.trainable:,} of them trained, "
            f"{self.bytes:,} bytes; {self.output_bytes:,} bytes of outputs"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])


def summary(model: Any, *inputs: Any) -> Summary:
    """Run the model once in eval mode on `inputs` and list its modules in the order they finished.

    A module that was called several times is listed with its last output; one that was not called
    has no shape. Shared parameters count once; buffers count in bytes. Modes, gradients and the
    random state stay as they were.
    """
    names = {id(module): name for name, module in model.named_modules()}
    shapes: dict[int, Any] = {}
    sizes: dict[int, int] = {}

    def note(module: Any, args: Any, output: Any) -> None:
        shapes.pop(id(module), None)
        shapes[id(module)] = _shape(output)
        sizes[id(module)] = _bytes(output)

    handles = [module.register_forward_hook(note) for module in model.modules()]
    try:
        with evaluating(model):
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    by_id = {id(module): module for module in model.modules()}
    seen: set[int] = set()
    layers = []
    for key in [*shapes, *(k for k in by_id if k not in shapes)]:
        count = size = 0
        for tensor in (*by_id[key].parameters(recurse=False), *by_id[key].buffers(recurse=False)):
            if id(tensor) not in seen:
                seen.add(id(tensor))
                size += tensor.array.nbytes
                count += tensor.array.size if _is_parameter(by_id[key], tensor) else 0
        kind = type(by_id[key]).__name__
        layers.append(Layer(names[key], kind, shapes.get(key), count, size))
    return Summary(
        tuple(layers),
        sum(p.array.size for p in model.parameters()),
        sum(p.array.size for p in model.parameters() if p.requires_grad),
        sum(layer.bytes for layer in layers),
        sum(sizes.values()),
    )


def _is_parameter(module: Any, tensor: Tensor) -> bool:
    return any(tensor is p for p in module.parameters(recurse=False))


def _shape(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.shape
    if isinstance(output, (list, tuple)):
        return [_shape(part) for part in output]
    return None


def _bytes(output: Any) -> int:
    if isinstance(output, Tensor):
        return output.array.nbytes
    return sum(map(_bytes, output)) if isinstance(output, (list, tuple)) else 0


def _shown(shape: Any) -> str:
    if shape is None:
        return "-"
    return ", ".join(map(_shown, shape)) if isinstance(shape, list) else str(shape)
