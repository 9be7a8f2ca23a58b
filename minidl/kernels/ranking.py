"""Pairwise ranking by plain SGD: a step for every triple (user, item he took, item drawn for it).

A step moves three rows, and the next step may need them, so steps follow one another. Yet they can
be shared among cores without a race. Users and items are cut, at random, into as many parts. A
block holds the pairs of one part of the users with one part of the items, and the items drawn for
them come from that part as well. Blocks without common users and items touch no common row, so the
blocks (p, p + turn) of a turn may run at the same time, and have the bits that they would have one
after the other (Gemulla, Nijkamp, Haas & Sismanis 2011, Large-scale matrix factorization with
distributed stochastic gradient descent, KDD). And the rows of a block fit into a core's cache: with
6,040 + 3,706 rows of 64 numbers in 8 x 8 blocks a step takes 32 ns, in one block 40.

Block (p, q) of parts x parts has the number p parts + q; starts (parts^2 + 1,) says where its pairs
begin. A part of n things has ceil(n / parts) of them, the last ones fewer. `key` (1,) uint64 makes
the random numbers, one stream for each place among the pairs: they do not depend on threads.
"""

import numpy as np

from minidl.kernels._jit import helper, kernel, piece, prange
from minidl.kernels._math import sigmoid
from minidl.kernels._pieces import count_pieces, piece_bounds
from minidl.kernels._prefetch import prefetch
from minidl.kernels.random import _GOLDEN, _mix, _mix_ref

_TRIES = 32  # draws for a pair, before the next free item is looked for one by one
_BITS = 16  # a pair, in the table of what is taken: a sixteenth of the draws asks in vain
_AHEAD = 6  # steps: rows are asked for this long before their turn
_LINE = 16  # elements in a cache line of 64 bytes; of float64 every second line is asked for
_S32 = np.uint64(32)


@helper
def _below(key, i, n):
    """The i-th random number of `key`, as a whole number of 0 … n-1."""
    return np.int64(((_mix(key, i) >> _S32) * np.uint64(n)) >> _S32)


def _below_ref(key, i, n):
    """`_below` for arrays i and n."""
    high = _mix_ref(key, int(np.max(i, initial=0)) + 1)[i] >> _S32
    return (high * np.uint64(n) >> _S32).astype(np.int64)


# --------------------------------------------------------------------------- pairs by block


def pair_blocks_ref(indptr, items, user_order, item_part, parts, key, starts, users, liked):
    user_part = np.empty(len(user_order), np.int64)
    user_part[user_order] = np.arange(len(user_order)) // max(1, -(-len(user_order) // parts))
    lengths = np.diff(indptr)[user_order]
    u = np.repeat(user_order, lengths)
    i = np.concatenate([items[:0], *(items[indptr[n] : indptr[n + 1]] for n in user_order)])
    block = user_part[u] * parts + item_part[i]
    starts[:] = np.searchsorted(np.sort(block), np.arange(parts * parts + 1))
    for b in range(parts * parts):
        first = starts[b]
        for n, pair in enumerate(np.flatnonzero(block == b)):  # Durstenfeld's shuffle, inside out
            other = first + _below_ref(key[0], np.array([first + n]), n + 1)[0]
            users[first + n], liked[first + n] = users[other], liked[other]
            users[other], liked[other] = u[pair], i[pair]


@piece
def _count_pairs(indptr, items, order, item_part, counts):
    counts[:] = 0
    for n in range(order.size):
        for i in range(indptr[order[n]], indptr[order[n] + 1]):
            counts[item_part[items[i]]] += 1


@piece
def _fill_blocks(indptr, items, order, item_part, key, starts, users, liked):
    filled = np.zeros(starts.size, np.int64)
    for n in range(order.size):
        for i in range(indptr[order[n]], indptr[order[n] + 1]):
            q = item_part[items[i]]
            place = starts[q] + filled[q]
            filled[q] += 1
            other = starts[q] + _below(key, place, filled[q])
            users[place], liked[place] = users[other], liked[other]
            users[other], liked[other] = order[n], items[i]


@kernel(reference=pair_blocks_ref, parallel=True, serial_below=20_000, size_of="items")
def pair_blocks(indptr, items, user_order, item_part, parts, key, starts, users, liked):
    """The pairs of a CSR matrix, block by block, each block shuffled.

    indptr (U+1,), items (N,): what each user took; user_order (U,): a permutation, cut into the
    parts of users; item_part (V,): each item's part; users, liked (N,): the pairs.
    """
    size = count_pieces(user_order.size, parts)
    counts = np.empty((parts, parts), np.int64)
    for p in prange(parts):
        s, e = piece_bounds(p, size, user_order.size)
        _count_pairs(indptr, items, user_order[s:e], item_part, counts[p])
    starts[0] = 0
    for b in range(parts * parts):
        starts[b + 1] = starts[b] + counts[b // parts, b % parts]
    for p in prange(parts):
        s, e = piece_bounds(p, size, user_order.size)
        mine = starts[p * parts : p * parts + parts]
        _fill_blocks(indptr, items, user_order[s:e], item_part, key[0], mine, users, liked)


# --------------------------------------------------------------------------- items drawn for them


def draw_in_blocks_ref(indptr, items, item_order, parts, key, starts, users, liked, drawn):
    size = -(-len(item_order) // parts)
    for b in range(parts * parts):
        part = b % parts
        pool = item_order[part * size : part * size + size]
        for n in range(starts[b], starts[b + 1]):
            taken = items[indptr[users[n]] : indptr[users[n] + 1]]
            tries = np.arange(_TRIES, dtype=np.uint64)
            places = [_below_ref(key[0] + t, np.array([n]), len(pool))[0] for t in tries]
            one_by_one = (places[-1] + 1 + np.arange(len(pool))) % len(pool)
            free = [item for item in pool[[*places, *one_by_one]] if item not in taken]
            drawn[n] = free[0] if free else -1


@helper
def _mark(user, item, shift):
    """A bit's number for a pair: the highest bits of a product (Knuth, TAOCP 3, 6.4)."""
    return np.int64((((np.uint64(user) << _S32) | np.uint64(item)) * _GOLDEN) >> shift)


@helper
def _is_set(bits, mark):
    return (bits[mark >> 6] >> np.uint64(mark & 63)) & np.uint64(1) != np.uint64(0)


@helper
def _has_taken(items, start, stop, item):
    """True when the ascending items[start:stop] hold item."""
    length = stop - start
    while length > 1:
        half = length >> 1
        start += half if items[start + half] <= item else 0
        length -= half
    return length == 1 and items[start] == item


@piece
def _draw(indptr, items, pool, key, first, users, liked, drawn):
    # A pair of this block can only be one of its own pairs. Each sets a bit; where the bit of a
    # drawn pair is clear, the user has not taken the item, and only else the sorted list of what
    # he took is asked. 17 ns a draw, against 68 with a search for each.
    log = 6
    while (1 << log) < _BITS * users.size:
        log += 1
    shift = np.uint64(64 - log)
    bits = np.zeros(1 << (log - 6), np.uint64)
    for n in range(users.size):
        mark = _mark(users[n], liked[n], shift)
        bits[mark >> 6] |= np.uint64(1) << np.uint64(mark & 63)
    for n in range(users.size):
        start, stop = indptr[users[n]], indptr[users[n] + 1]
        place = _below(key, first + n, pool.size)
        item, tries = pool[place], 1
        while _is_set(bits, _mark(users[n], item, shift)) and _has_taken(items, start, stop, item):
            if tries == _TRIES + pool.size:
                item = -1
                break
            if tries < _TRIES:
                place = _below(key + np.uint64(tries), first + n, pool.size)
            else:
                place = place + 1 if place + 1 < pool.size else 0
            item = pool[place]
            tries += 1
        drawn[n] = item


@kernel(reference=draw_in_blocks_ref, parallel=True, serial_below=20_000, size_of="users")
def draw_in_blocks(indptr, items, item_order, parts, key, starts, users, liked, drawn):
    """drawn[n]: an item of pair n's part that users[n] has not taken, each as likely; -1 for none.

    indptr (U+1,), items: what each user took, ascending, each once; item_order (V,): a permutation,
    cut into the parts of items; starts, users, liked (N,): from `pair_blocks`.
    """
    size = count_pieces(item_order.size, parts)
    for b in prange(parts * parts):
        s, e = starts[b], starts[b + 1]
        low, high = piece_bounds(b % parts, size, item_order.size)
        pool = item_order[low:high]
        _draw(indptr, items, pool, key[0], s, users[s:e], liked[s:e], drawn[s:e])


# --------------------------------------------------------------------------- steps


def bpr_sgd_ref(users, liked, drawn, starts, parts, lr, reg, user_table, item_table, bias, margins):
    margins[:] = np.inf
    for turn in range(parts):
        for p in range(parts):
            block = p * parts + (p + turn) % parts
            for n in range(starts[block], starts[block + 1]):
                u, i, j = users[n], liked[n], drawn[n]
                if j < 0:
                    continue
                p_u, q_i, q_j = user_table[u].copy(), item_table[i].copy(), item_table[j].copy()
                margins[n] = p_u @ (q_i - q_j) + bias[i] - bias[j]
                g = np.exp(-np.logaddexp(0, margins[n]))  # sigmoid(-x)
                user_table[u] += lr * (g * (q_i - q_j) - reg * p_u)
                item_table[i] += lr * (g * p_u - reg * q_i)
                item_table[j] += lr * (-g * p_u - reg * q_j)
                bias[i] += lr * g
                bias[j] -= lr * g


@piece(fastmath=("contract", "reassoc"))  # reassoc: the sum over the width becomes SIMD
def _steps(users, liked, drawn, lr, keep, user_table, item_table, bias, margins):
    width = user_table.shape[1]
    for n in range(users.size):
        ahead = min(n + _AHEAD, users.size - 1)
        for d in range(0, width, _LINE):
            prefetch(user_table, users[ahead] * width + d)
            prefetch(item_table, liked[ahead] * width + d)
            prefetch(item_table, max(drawn[ahead], 0) * width + d)
        i, j = liked[n], drawn[n]
        if j < 0:
            margins[n] = np.inf  # no loss
            continue
        p, q, r = user_table[users[n]], item_table[i], item_table[j]
        x = bias[i] - bias[j]
        for d in range(width):
            x += p[d] * (q[d] - r[d])
        margins[n] = x
        g = lr * sigmoid(-x)
        bias[i] += g
        bias[j] -= g
        for d in range(width):
            a, b, c = p[d], q[d], r[d]
            p[d] = keep * a + g * (b - c)
            q[d] = keep * b + g * a
            r[d] = keep * c - g * a


@kernel(reference=bpr_sgd_ref, parallel=True, serial_below=20_000)
def bpr_sgd(users, liked, drawn, starts, parts, lr, reg, user_table, item_table, bias, margins):
    """A step of SGD for each triple (u, i, j) = (users, liked, drawn)[n], turn by turn.

        x = p_u · (q_i - q_j) + b_i - b_j,   loss = -log sigmoid(x) + reg/2 (|p_u|²+|q_i|²+|q_j|²)

    user_table (U, D) holds p, item_table (V, D) q, bias (V,) b; margins (N,) gets x, and inf where
    drawn is -1, which is no step. Rendle et al. 2009, BPR, figure 4.
    """
    real = user_table.dtype.type
    rate, keep = real(lr), real(1.0 - lr * reg)
    for turn in range(parts):
        for p in prange(parts):
            block = p * parts + (p + turn) % parts
            s, e = starts[block], starts[block + 1]
            _steps(
                users[s:e], liked[s:e], drawn[s:e], rate, keep, user_table, item_table, bias,
                margins[s:e],
            )
