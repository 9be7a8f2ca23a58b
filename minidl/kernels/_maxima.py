"""Maxima of windows by whole vectors, and gradients put back where they stood.

A row of 7 or 14 windows is shorter than a vector of AVX-512, and Numba's loop over it runs number
by number. By these vectors 3 x 3 windows are found in 40 % of the time, those of 2 x 2 at 60 to 73
GB/s on two cores instead of 22 to 39. All arrays are flat; argmax holds places in a plane.
"""

from typing import Any

from minidl.kernels._lanes import _Lanes


def _largest_of_four(x, a, b, below, many, more, out, argmax, s, t):
    """Maxima of windows of 2 x 2 side by side, in two runs of half a vector at most.

    x: a plane, from whose place a on `many` windows begin, and `more` from b on, with their second
    rows `below` further on; out, argmax: the maxima go to [s : s + many] and [t : t + more].
    """


def _largest_code(vector, x, a, b, below, many, more, out, argmax, s, t) -> None:
    builder, ir = vector.builder, vector.ir
    best, where = None, None
    for further in (below.type(0), below):
        begins = [builder.add(place, further) for place in (a, b)]
        low, high = (vector.load(x, *each) for each in _runs(vector, begins, (many, more)))
        first = _places(vector, begins)
        for odd in (0, 1):
            value = vector.chosen(low, high, range(odd, 2 * vector.lanes, 2))
            here = builder.add(first, ir.Constant(first.type, [odd] * vector.lanes))
            if best is None:
                best, where = value, here
                continue
            take = _larger(vector, value, best)
            best, where = builder.select(take, value, best), builder.select(take, here, where)
    for value, target in ((best, out), (where, argmax)):
        for each in _halves(vector, (s, t), (many, more)):
            vector.store_masked(value, vector.place(target, each[0]), each[1])


def _back_to_four(dout, argmax, s, t, many, more, below, dx, a, b):
    """The way back: in dx each of dout at its argmax of the window's four, 0 at the others."""


def _back_code(vector, dout, argmax, s, t, many, more, below, dx, a, b) -> None:
    builder, ir = vector.builder, vector.ir
    halves = _halves(vector, (s, t), (many, more))
    value, other = (vector.load(dout, *each) for each in halves)
    value = builder.select(halves[0][1], value, other)
    where, other = (vector.load(argmax, *each) for each in halves)
    where = builder.select(halves[0][1], where, other)
    zero = ir.Constant(vector.kind, None)
    for further in (below.type(0), below):
        begins = [builder.add(place, further) for place in (a, b)]
        first, parts = _places(vector, begins), []
        for odd in (0, 1):
            here = builder.add(first, ir.Constant(first.type, [odd] * vector.lanes))
            parts.append(builder.select(builder.icmp_signed("==", where, here), value, zero))
        for half, each in enumerate(_runs(vector, begins, (many, more))):
            lanes = [
                half * vector.lanes // 2 + k // 2 + k % 2 * vector.lanes
                for k in range(vector.lanes)
            ]
            vector.store_masked(vector.chosen(*parts, lanes), vector.place(dx, each[0]), each[1])


def _runs(vector: Any, begins: Any, counts: Any) -> list[tuple[Any, Any]]:
    """Places and masks of two vectors with 2 * count numbers each."""
    lanes = [k // 2 for k in range(vector.lanes)]
    return [(begin, vector.below(n, lanes)) for begin, n in zip(begins, counts, strict=True)]


def _halves(vector: Any, begins: Any, counts: Any) -> list[tuple[Any, Any]]:
    """Places and masks of one vector's halves, which belong to two places of memory."""
    half, never = vector.lanes // 2, 1 << 30
    lanes = [[*range(half), *[never] * half], [*[never] * half, *range(half)]]
    begins = begins[0], vector.builder.sub(begins[1], begins[1].type(half))
    return [(b, vector.below(n, k)) for b, n, k in zip(begins, counts, lanes, strict=True)]


def _places(vector: Any, begins: Any) -> Any:
    """Every second number's place from begins[0] on, for half a vector, and from begins[1] on."""
    builder, ir, half = vector.builder, vector.ir, vector.lanes // 2
    number = ir.IntType(32)
    kind = ir.VectorType(number, vector.lanes)
    pair = ir.Constant(ir.VectorType(number, 2), ir.Undefined)
    for k in (0, 1):
        pair = builder.insert_element(pair, builder.trunc(begins[k], number), number(k))
    both = builder.shuffle_vector(pair, pair, ir.Constant(kind, [0] * half + [1] * half))
    return builder.add(both, ir.Constant(kind, [2 * k for k in range(half)] * 2))


def _larger(vector: Any, value: Any, best: Any) -> Any:
    """Which are taken: what is larger, or NaN. As PyTorch, the first of equals, the last NaN."""
    builder = vector.builder
    larger = builder.fcmp_ordered(">", value, best)
    return builder.or_(larger, builder.fcmp_unordered("uno", value, value))


def _better(x, s, count, best, argmax, t):
    """Of x[s : s + count] what is larger than best[t :], or NaN, with its place.

    A vector's numbers at most; best and argmax have room for a whole one.
    """


def _better_second(x, s, count, best, argmax, t):
    """The same of x[s : s + 2 * count : 2]"""


def _better_third(x, s, count, best, argmax, t):
    """The same of x[s : s + 3 * count : 3]"""


def _better_code(step, vector, x, s, count, best, argmax, t) -> None:
    builder, ir, n = vector.builder, vector.ir, vector.lanes
    wanted, number = vector.below(count, range(n)), ir.IntType(32)
    value = None
    for part in range(step):  # of the vectors that hold the numbers each gives some
        taken = [(part * n + k) // step if (part * n + k) % step == 0 else 1 << 30
                 for k in range(n)]  # fmt: skip
        at = builder.add(s, s.type(part * n))
        loaded = vector.load(x, at, vector.below(count, taken))
        if value is None:
            chosen = [k * step if k * step < n else n for k in range(n)]
            value = vector.chosen(loaded, ir.Constant(vector.kind, None), chosen)
        else:
            chosen = [n + k * step - part * n if k * step // n == part else k for k in range(n)]
            value = vector.chosen(value, loaded, chosen)
    kind = ir.VectorType(number, n)
    first = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(first, builder.trunc(s, number), number(0))
    first = builder.shuffle_vector(first, first, ir.Constant(kind, None))
    here = builder.add(first, ir.Constant(kind, [step * k for k in range(n)]))
    everywhere = ir.Constant(wanted.type, [True] * n)
    known, where = vector.whole(best, t), vector.load(argmax, t, everywhere)
    take = builder.and_(_larger(vector, value, known), wanted)
    vector.store(builder.select(take, value, known), best, t)
    vector.store_masked(builder.select(take, here, where), vector.place(argmax, t), everywhere)


def _by(step: int) -> Any:
    return lambda vector, *given: _better_code(step, vector, *given)


better: Any = _Lanes(_better, _by(1))
better_second: Any = _Lanes(_better_second, _by(2))
better_third: Any = _Lanes(_better_third, _by(3))
largest_of_four: Any = _Lanes(_largest_of_four, _largest_code)
back_to_four: Any = _Lanes(_back_to_four, _back_code)
