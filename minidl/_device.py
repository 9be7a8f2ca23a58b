"""The one device there is, so that programs that name devices run."""

from typing import Any


class device:
    """`device("cpu")`: equal to the string "cpu"; anything else is refused."""

    __slots__ = ()
    type = "cpu"
    index = None

    def __init__(self, type: Any = "cpu", index: int | None = None):
        check_device(type)
        if index:
            raise ValueError(f"device: 'cpu:{index}' is not there; there is one CPU, 'cpu'")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) or other in ("cpu", "cpu:0")

    def __hash__(self) -> int:
        return hash("cpu")

    def __str__(self) -> str:
        return "cpu"

    def __repr__(self) -> str:
        return "device(type='cpu')"


def check_device(name: Any) -> None:
    """Only the CPU is there; None means it too."""
    if name is not None and str(name) not in ("cpu", "cpu:0"):
        raise ValueError(f"device {str(name)!r} is not there: this framework runs on 'cpu' only")


CPU = device()
