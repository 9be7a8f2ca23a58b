"""Borders: of a number, or of the image's own values."""

from collections.abc import Sequence
from typing import Any

from minidl._apply import apply
from minidl._tensor import Tensor
from minidl.ops.pad import Pad
from minidl.ops.resample import Resample

__all__ = ["pad"]

_MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """A border around the last axes; pad: (before, after) of the last, then of the one before …

    mode: constant (`value`, 0 if None), reflect (mirrored, without the edge itself), replicate
    (the edge), circular (the other end); all but constant take 1 to 3 axes of a batch or of one
    example. A negative number crops.
    """
    numbers = tuple(int(n) for n in pad)
    axes = len(numbers) // 2
    if mode not in _MODES:
        raise NotImplementedError(f"pad: mode must be one of {_MODES}, got {mode!r}")
    if len(numbers) % 2 or axes > input.ndim:
        raise ValueError(
            f"pad: two numbers an axis are needed, for at most {input.ndim} axes, got {numbers}"
        )
    pairs = [(0, 0)] * input.ndim
    for place in range(axes):
        pairs[input.ndim - 1 - place] = (numbers[2 * place], numbers[2 * place + 1])
    for n, (before, after) in zip(input.shape, pairs):
        if n + before + after < 0:
            raise ValueError(f"pad: {numbers} crops more than there is in input {input.shape}")
    if mode == "constant":
        return _with_value(input, pairs, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value}")
    if axes > 3 or input.ndim - axes not in (1, 2):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads 1 to 3 last axes of an input with one or two more axes, got "
            f"{numbers} for {input.shape}"
        )
    for axis in range(input.ndim - 1, input.ndim - 1 - axes, -1):
        input = _with_own(input, axis, mode, *pairs[axis])
    return input


def _with_value(x: Tensor, pairs: list[tuple[int, int]], value: Any) -> Tensor:
    if any(n < 0 for pair in pairs for n in pair):
        key = tuple(
            slice(max(-before, 0), n - max(-after, 0))
            for n, (before, after) in zip(x.shape, pairs)
        )
        x = x[key]
        pairs = [(max(before, 0), max(after, 0)) for before, after in pairs]
        if not any(n for pair in pairs for n in pair):
            return x.clone()
    return apply(Pad, x, pads=tuple(pairs), value=value)


def _with_own(x: Tensor, axis: int, mode: str, before: int, after: int) -> Tensor:
    if mode == "circular" and min(before, after) < 0:  # PyTorch crops before it goes around
        start, stop = max(-before, 0), x.shape[axis] - max(-after, 0)
        x = x[(*(slice(None),) * axis, slice(start, stop))]
        before, after = max(before, 0), max(after, 0)
    if not before and not after:
        return x
    size, most = x.shape[axis], max(before, after)
    limit = {"reflect": size - 1, "circular": size, "replicate": most if size else 0}[mode]
    if most > limit:
        rule = "smaller than the axis" if mode == "reflect" else "at most the axis"
        raise ValueError(
            f"pad: mode {mode!r} needs padding {rule}, got ({before}, {after}) for axis {axis} of "
            f"input {x.shape}"
        )
    if not x.array.size and size:  # nothing, of another size
        pairs = [(before, after) if i == axis else (0, 0) for i in range(x.ndim)]
        return _with_value(x, pairs, 0)
    return apply(Resample, x, axis=axis, rule=(mode, size, before, after), transposed=False)

