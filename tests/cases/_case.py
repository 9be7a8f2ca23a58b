"""Case: one set of inputs of an op."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Case:
    """Arrays and settings of one call; atol of its gradient check; order2: differentiate twice."""

    arrays: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    atol: float = 1e-6
    order2: bool = True
