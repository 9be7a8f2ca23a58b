"""What recurrent ops share: the rows of each time step, and states carried from step to step.

Sequences of one batch lie one time step after the other, as in torch's PackedSequence: the rows of
step t are those of the sequences that are longer than t, the longest sequence first. A batch of
equal lengths is the special case of T steps of B rows.
"""

from itertools import accumulate

import numpy as np

from minidl.ops import _math
from minidl.ops._op import empty


class Steps:
    """spans: (start, stop) of each step's rows, in the order in which steps are computed."""

    def __init__(self, sizes, reverse):
        sizes = _math.values(sizes).tolist()
        stops = list(accumulate(sizes))
        spans = [(stop - size, stop) for stop, size in zip(stops, sizes)]
        self.spans = spans[::-1] if reverse else spans
        self.rows, self.batch = stops[-1], sizes[0]
        self.even, self.reverse = sizes[0] == sizes[-1], reverse


class States:
    """A state before and after each step: two arrays (N, H), which overlap where lengths are equal.

    A sequence that has ended keeps its last state, one that has not begun its first.
    """

    def __init__(self, first, steps):
        rows, batch, width = steps.rows, steps.batch, first.shape[1]
        self.even = steps.even
        if self.even:  # one array: what a step leaves is where the next one begins
            both = empty((rows + batch, width), first.dtype)
            early, late = both[:rows], both[batch:]
            self.before, self.after = (late, early) if steps.reverse else (early, late)
            (both[rows:] if steps.reverse else both[:batch])[...] = first
        else:
            self.before = empty((rows, width), first.dtype)
            self.after = empty((rows, width), first.dtype)
        self._now = first.copy()
        self._last = steps.spans[-1]

    def enter(self, s, e):
        """The state before the step of rows s : e."""
        if not self.even:
            self.before[s:e] = self._now[: e - s]
        return self.before[s:e]

    def leave(self, s, e):
        """Called when `after` of a step has been filled."""
        if not self.even:
            self._now[: e - s] = self.after[s:e]

    def last(self):
        """The state of each sequence after its last step, (B, H)."""
        if not self.even:
            return self._now
        s, e = self._last
        return self.after[s:e].copy()


def start(gradient, like):
    """The gradient of a last state as a new array, or zeros."""
    out = empty(like.shape, like.dtype)
    out[...] = 0 if gradient is None else gradient
    return out


def both_biases(b_ih, b_hh, width, dtype):
    """Their sum; zeros without biases."""
    return np.zeros(width, dtype) if b_ih is None else b_ih + b_hh


def unrolled(F, cell, steps, inputs, states):
    """A layer in elementary ops: cell(inputs, states) -> new states, one step after the other.

    Returns the first state of all rows, and each state at the end.
    """
    outs = {}
    for s, e in steps.spans:
        n = e - s
        new = cell(inputs[s:e], [state[:n] for state in states])
        outs[s] = new[0]
        whole = n == steps.batch
        states = [a if whole else F.cat([a, state[n:]]) for a, state in zip(new, states)]
    return F.cat([outs[s] for s in sorted(outs)]), *states
