"""Protocol: everything that changes a figure though the model stays the same, as text and hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mask = Literal["history", "train", "none"]


@dataclass(frozen=True)
class Protocol:
    """How a result came about. Two figures may be compared where the fingerprints are equal.

    data: rows, users and items of the parts, and a hash of their content. split: how the parts
    were made. part: the one that is predicted. history: what the models may read of a user. mask:
    what is not recommended again. targets: test events that count; left_out: those of masked
    items, which no list could hold. users, cold_users: users with targets, and how many of them
    have no history. ideal: of NDCG. negatives: 0 for full ranking.
    """

    data: str
    data_hash: str
    split: str
    part: str
    history: str
    mask: str
    candidates: str
    users: int
    cold_users: int
    targets: int
    left_out: int
    ideal: str
    negatives: int
    seed: int | None
    relevance: str = "binary"
    score_ties: str = "lower item code first"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self, fitted_on: str) -> str:
        """12 hex digits of this protocol and of what the model was fitted on."""
        text = json.dumps({**asdict(self), "fitted_on": fitted_on}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def line(self) -> str:
        """The protocol in one line to be read."""
        sampled = (
            f"targets against {self.negatives} uniform unseen negatives (seed {self.seed})"
            if self.negatives
            else "full ranking"
        )
        left_out = f", {self.left_out:,} masked left out" if self.left_out else ""
        cold = f", {self.cold_users:,} without history" if self.cold_users else ""
        return (
            f"{self.data}, hash {self.data_hash}; split: {self.split}; predicted: {self.part}, "
            f"{self.targets:,} events{left_out} of {self.users:,} users{cold}; "
            f"history: {self.history}; masked: {self.mask}; {sampled} of {self.candidates}; "
            f"NDCG ideal: {self.ideal}; relevance: {self.relevance}; "
            f"equal scores: {self.score_ties}"
        )
