"""What single kernels promise beyond equality with their reference."""

import time

import numpy as np
import pytest

from minidl import kernels


def test_dropout_keeps_the_share_and_the_mean_and_repeats():
    x = np.ones(200_000, np.float32)
    y, again, other = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    kernels.dropout(x, np.array([7], np.uint64), 0.3, y)
    kernels.dropout(x, np.array([7], np.uint64), 0.3, again)
    kernels.dropout(x, np.array([8], np.uint64), 0.3, other)
    assert y.tobytes() == again.tobytes()
    assert abs((y == 0).mean() - 0.3) < 0.005  # five standard deviations
    assert abs(y.mean() - 1) < 0.01
    assert abs(((y == 0) & (other == 0)).mean() - 0.09) < 0.004  # masks of two keys: independent


def test_splitmix64_is_the_published_one():
    """The first numbers of SplitMix64 with seed 1234567, as its authors' C code prints them."""
    from minidl.kernels.random import _mix_ref

    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert _mix_ref(np.uint64(1234567), 3).tolist() == published


def test_layer_norm_of_large_values_keeps_its_variance():
    x = (1e4 + np.random.default_rng(0).standard_normal((4, 5_000))).astype(np.float32)
    y, mean, rstd = np.empty_like(x), np.empty(4, np.float32), np.empty(4, np.float32)
    ones, zeros = np.ones(5_000, np.float32), np.zeros(5_000, np.float32)
    kernels.layer_norm_forward(x, ones, zeros, 1e-5, y, mean, rstd)
    np.testing.assert_allclose(rstd, 1 / np.sqrt(x.astype(np.float64).var(axis=1)), rtol=1e-3)


def test_float32_sums_are_not_naive():
    """One million ones in one segment: a float32 running sum of 0.1 is off by 1 %."""
    values = np.full((1_000_000, 1), 0.1, np.float32)
    out = np.empty((1, 1), np.float32)
    kernels.segment_sum_rows(values, np.arange(1_000_000), np.array([0, 1_000_000]), out)
    np.testing.assert_allclose(out, 1e5, rtol=1e-6)


@pytest.mark.skipif(not kernels.ENABLED, reason="MINIDL_JIT=0: the reference copies rows")
def test_time_of_a_sparse_step_does_not_depend_on_the_table():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((8_192, 64)).astype(np.float32)
    tables = {}
    for height in (50_000, 1_000_000):
        ids = rng.integers(0, height, 8_192)
        outputs = [np.empty(8_192, np.int64) for _ in range(2)]
        outputs += [np.empty(8_193, np.int64), np.empty(1, np.int64)]
        tables[height] = ids, outputs

    def best(height):
        ids, (order, rows, starts, count) = tables[height]
        found = 1e9
        for _ in range(15):
            start = time.perf_counter()
            kernels.group_ids(ids, order, rows, starts, count)
            sums = np.empty((count[0], 64), np.float32)
            kernels.segment_sum_rows(values, order, starts, sums)
            found = min(found, time.perf_counter() - start)
        return found

    ratio = min(best(1_000_000) / best(50_000) for _ in range(3))
    assert ratio < 1.6


def test_top_k_prefers_the_lower_index():
    scores = np.array([[1.0, 3.0, 3.0, 3.0, 2.0]])
    ids, values = np.empty((1, 2), np.int64), np.empty((1, 2))
    nothing = np.empty(0, np.int64)
    kernels.topk_rows(scores, np.zeros(2, np.int64), nothing, ids, values)
    assert ids.tolist() == [[1, 2]]
    kernels.topk_rows(scores, np.array([0, 1]), np.array([1]), ids, values)
    assert ids.tolist() == [[2, 3]]
