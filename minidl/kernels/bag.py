"""Maxima over bags of table rows."""

from minidl.kernels._jit import kernel, piece, prange
from minidl.kernels._pieces import count_pieces, piece_bounds

_BAGS = 64  # a piece: bags differ in length, so pieces are small enough to even that out


def bag_max_ref(indptr, ids, table, out, places):
    out[:], places[:] = 0, -1
    for b in range(len(out)):
        bag = ids[indptr[b] : indptr[b + 1]]
        if len(bag):
            best = table[bag].argmax(axis=0)
            places[b] = bag[best]
            out[b] = table[bag].max(axis=0)


@piece
def _bags(indptr, ids, table, out, places):
    width = table.shape[1]
    for b in range(out.shape[0]):
        best, place = out[b], places[b]
        start, stop = indptr[b], indptr[b + 1]
        if start == stop:
            best[:] = 0
            place[:] = -1
            continue
        best[:] = table[ids[start]]
        place[:] = ids[start]
        for j in range(start + 1, stop):
            row, v = table[ids[j]], ids[j]
            for d in range(width):
                above = row[d] > best[d]
                best[d] = row[d] if above else best[d]
                place[d] = v if above else place[d]


@kernel(reference=bag_max_ref, parallel=True, serial_below=50_000, size_of="out")
def bag_max(indptr, ids, table, out, places):
    """indptr (B+1,), ids (J,), table (V, D); out (B, D), places (B, D) int64.

    out[b] = the maximum of table[ids[j]] over indptr[b] <= j < indptr[b + 1]; places: which row had
    it, the first of equal ones. An empty bag has 0 and -1.
    """
    for p in prange(count_pieces(out.shape[0], _BAGS)):
        s, e = piece_bounds(p, _BAGS, out.shape[0])
        _bags(indptr[s : e + 1], ids, table, out[s:e], places[s:e])
