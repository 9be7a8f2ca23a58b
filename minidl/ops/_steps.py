"""What recurrent ops share: the rows of each time step, and states carried from step to step.

Sequences of one batch lie one time step after the other, as in torch's PackedSequence: the rows of
step t are those of the sequences that are longer than t, the longest sequence first. A batch of
equal lengths is the special case of T steps of B rows.
"""

from itertools import accumulate
from typing import Any

import numpy as np

from minidl.ops import _math
from minidl.ops._op import empty
from minidl.ops._product import product
from minidl.ops._sums import sum_rows

_BLOCK = 512
"""Rows of gates, or of their gradients, that are computed at once: enough for a product over them
to run at full speed, few enough to be in cache when the steps use them. All at once cost 34 ms
where this costs 27 (forward and backward of LSTM, B 64, T 50, H 128): new memory is slow."""


class Steps:
    """spans: (start, stop) of each step's rows, in the order in which steps are computed."""

    def __init__(self, sizes, reverse):
        sizes = _math.values(sizes).tolist()
        stops = list(accumulate(sizes))
        spans = [(stop - size, stop) for stop, size in zip(stops, sizes)]
        self.spans = spans[::-1] if reverse else spans
        self.rows, self.batch = stops[-1], sizes[0]
        self.even, self.reverse = sizes[0] == sizes[-1], reverse

    def blocks(self, back=False):
        """Blocks (start, stop, spans) of neighbouring steps, of about _BLOCK rows each.

        In the order in which steps are computed, or the way back.
        """
        block = []
        for span in reversed(self.spans) if back else self.spans:
            block.append(span)
            s, e = min(block[0][0], span[0]), max(block[0][1], span[1])
            if e - s >= _BLOCK:
                yield s, e, block
                block = []
        if block:
            yield s, e, block

    def block_rows(self):
        """The most rows that a block has."""
        return min(self.rows, _BLOCK - 1 + self.batch)


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


class WeightGradients:
    """dx, dw_ih, dw_hh and the sum of the gates' gradients, gathered block by block of steps."""

    def __init__(self, x, before, w_ih, needs):
        self._x, self._before, self._w_ih, self._needs = x, before, w_ih, needs
        self.dx: Any = empty(x.shape, x.dtype) if needs[0] else None
        self.dw_ih: Any = None
        self.dw_hh: Any = None
        self.db: Any = None

    def add(self, dgates, s, e, dinput=None, drecurrent=None):
        """dgates of the rows s : e; dinput and drecurrent where only parts meet those weights."""
        dinput = dgates if dinput is None else dinput
        drecurrent = dgates if drecurrent is None else drecurrent
        need_x, need_ih, need_hh, need_b = self._needs
        if need_x:
            product(dinput, self._w_ih, out=self.dx[s:e])
        if need_ih:
            self.dw_ih = _sum(self.dw_ih, product(dinput.T, self._x[s:e]))
        if need_hh:
            self.dw_hh = _sum(self.dw_hh, product(drecurrent.T, self._before[s:e]))
        if need_b:
            self.db = _sum(self.db, sum_rows(dgates))


def _sum(known, part):
    if known is None:
        return part
    known += part
    return known


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
