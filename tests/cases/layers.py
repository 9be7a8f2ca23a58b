"""Inputs for the ops of `minidl.ops` dropout, embedding and norm."""

import numpy as np

from tests.cases._case import Case


def dropouts(rng):
    key = np.array([12345], np.uint64)
    for shape in ((5,), (3, 4), (0, 3), (40, 60)):
        for p in (0.3, 1.0):
            yield Case((rng.standard_normal(shape), key), {"p": p}, f"{shape}, {p}")


def embeddings(rng):
    table = rng.standard_normal((6, 3))
    for ids in (np.array([0, 5, 5, 2]), np.array([[1, 2], [2, 0]]), np.zeros(0, int), np.array(3)):
        for padding_idx in (None, 4):  # a row that is read has no gradient, against the calculus
            for sparse in (False, True):
                settings = {"padding_idx": padding_idx, "sparse": sparse}
                yield Case((table, ids), settings, f"{ids.shape}, {padding_idx}, {sparse}")


def layer_norms(rng):
    for shape in ((4, 5), (2, 3, 4), (0, 3), (40, 60)):
        width = shape[-1]
        yield Case(
            (rng.standard_normal(shape), rng.uniform(0.5, 2, width), rng.standard_normal(width)),
            {"eps": 1e-5}, f"{shape}", atol=1e-5,
        )  # fmt: skip


def rms_norms(rng):
    for shape in ((4, 5), (2, 3, 4), (0, 3), (40, 60)):
        arrays = rng.standard_normal(shape), rng.uniform(0.5, 2, shape[-1])
        yield Case(arrays, {"eps": 1e-5}, f"{shape}", atol=1e-5)


def unit_rows(rng):
    for shape in ((4, 5), (2, 3, 4), (0, 3), (40, 60), (7,)):
        for eps in (1e-12, 0.3):
            x = rng.standard_normal(shape)
            x[:1] *= 0.05  # shorter than eps, and so only divided by it
            yield Case((x,), {"eps": eps}, f"{shape}, {eps}", atol=1e-5)


def _by_channel(rng):
    for shape in ((4, 3), (2, 3, 4), (3, 2, 2, 3), (0, 3, 2), (20, 6, 30)):
        c = shape[1]
        yield rng.standard_normal(shape), rng.uniform(0.5, 2, c), rng.standard_normal(c)


def batch_norms(rng):
    for arrays in _by_channel(rng):
        yield Case(arrays, {"eps": 0.1}, f"{arrays[0].shape}", atol=1e-5)


def group_norms(rng):
    for arrays in _by_channel(rng):
        for groups in {1, arrays[0].shape[1]}:
            settings = {"groups": groups, "eps": 0.1}
            yield Case(arrays, settings, f"{arrays[0].shape}, {groups}", atol=1e-5)


def channel_affines(rng):
    for x, scale, shift in _by_channel(rng):
        yield Case((x, rng.standard_normal(x.shape[1]), scale, shift), {}, f"{x.shape}")


CASES = {
    "BatchNorm": lambda rng: list(batch_norms(rng)),
    "ChannelAffine": lambda rng: list(channel_affines(rng)),
    "Dropout": lambda rng: list(dropouts(rng)),
    "Embedding": lambda rng: list(embeddings(rng)),
    "GroupNorm": lambda rng: list(group_norms(rng)),
    "LayerNorm": lambda rng: list(layer_norms(rng)),
    "RMSNorm": lambda rng: list(rms_norms(rng)),
    "UnitRows": lambda rng: list(unit_rows(rng)),
}
