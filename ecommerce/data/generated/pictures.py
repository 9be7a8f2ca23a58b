"""Pictures of the generated shop's products: 28 x 28 grey images, drawn by formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .catalogue import CATEGORIES

KINDS = tuple(entry[0] for entry in CATEGORIES)
SIZE = 28

Plane = NDArray[np.floating]  # (N, 28, 28): coordinates, or distances to an outline (inside > 0)


def draw_images(kinds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image of each kind (places in KINDS), (N,) -> (N, 28, 28) uint8, bright on black.

    Each is moved, scaled, turned, shaded, striped and proportioned at random, with some noise.
    """
    images = np.zeros((len(kinds), SIZE, SIZE), np.uint8)
    for start in range(0, len(kinds), 2048):  # blocks: the planes are many
        block = slice(start, start + 2048)
        images[block] = _draw_block(np.asarray(kinds)[block], rng)
    return images


def _draw_block(kinds: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
    n = len(kinds)

    def drawn(low: float, high: float) -> Plane:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    axis = (np.arange(SIZE, dtype=np.float32) - 13.5) / 13.5  # -1 ... 1
    turn, scale = drawn(-0.15, 0.15), drawn(0.95, 1.25)
    x0, y0 = axis[None, None, :] - drawn(-0.12, 0.12), axis[None, :, None] - drawn(-0.12, 0.12)
    x = scale * (np.cos(turn) * x0 + np.sin(turn) * y0)
    y = scale * (-np.sin(turn) * x0 + np.cos(turn) * y0)
    wide, tall, shade = drawn(0.85, 1.15), drawn(0.85, 1.15), drawn(0.55, 1.0)
    stripes, phase = drawn(0.0, 0.35), drawn(0.0, 6.3)
    x, y = x / wide, y / tall
    inside = np.empty((n, SIZE, SIZE), np.float32)
    for kind, name in enumerate(KINDS):
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            inside[rows] = _OUTLINES[name](x[rows], y[rows])
    filled = np.clip(inside * 10 + 0.5, 0, 1)  # a soft edge about a pixel wide
    texture = shade * (1 - stripes * (0.5 + 0.5 * np.sin(14 * y + phase)))
    noise = rng.normal(0, 0.03, (n, SIZE, SIZE)).astype(np.float32)
    return np.rint(255 * np.clip(filled * (texture + noise), 0, 1)).astype(np.uint8)


def _box(x: Plane, y: Plane, left: float, right: float, top: float, bottom: float) -> Plane:
    return np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))


def _disc(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float) -> Plane:
    distance: Plane = (1 - np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)) * min(rx, ry)
    return distance


def _shirt(x: Plane, y: Plane) -> Plane:
    body = _box(x, y, -0.42, 0.42, -0.6, 0.75)
    sleeves = np.minimum(0.3 - np.abs(y + 0.42 - 0.45 * (np.abs(x) - 0.4)), 0.85 - np.abs(x))
    return np.minimum(np.maximum(body, np.minimum(sleeves, y + 0.65)),
                      -_disc(x, y, 0, -0.65, 0.2, 0.16))


def _trousers(x: Plane, y: Plane) -> Plane:
    outline = np.minimum(0.3 + 0.1 * (y + 1) - np.abs(x), np.minimum(y + 0.8, 0.85 - y))
    gap = np.minimum(0.035 + 0.07 * (y + 0.3) - np.abs(x), y + 0.25)
    return np.minimum(outline, -gap)


def _shoe(x: Plane, y: Plane) -> Plane:
    sole = _box(x, y, -0.8, 0.8, 0.25, 0.5)
    toe = np.minimum(_disc(x, y, 0.3, 0.3, 0.5, 0.32), 0.5 - y)
    heel = _box(x, y, -0.8, -0.15, -0.35, 0.45)
    return np.maximum(np.maximum(sole, toe), heel)


def _bag(x: Plane, y: Plane) -> Plane:
    body = np.minimum(_box(x, y, -0.75, 0.75, -0.15, 0.7), 0.68 + 0.1 * y - np.abs(x))
    ring = np.minimum(_disc(x, y, 0, -0.15, 0.42, 0.55), -_disc(x, y, 0, -0.15, 0.28, 0.4))
    return np.maximum(body, np.minimum(ring, -0.1 - y))


def _cup(x: Plane, y: Plane) -> Plane:
    body = np.minimum(_box(x, y, -0.6, 0.35, -0.5, 0.6), 0.5 - 0.12 * y - np.abs(x + 0.12))
    ring = np.minimum(_disc(x, y, 0.38, 0.0, 0.34, 0.36), -_disc(x, y, 0.38, 0.0, 0.18, 0.2))
    return np.maximum(body, np.minimum(ring, x - 0.3))


def _lamp(x: Plane, y: Plane) -> Plane:
    shade = np.minimum(0.32 + 0.42 * (y + 0.75) - np.abs(x), np.minimum(y + 0.8, -0.1 - y))
    pole = _box(x, y, -0.07, 0.07, -0.15, 0.65)
    foot = _disc(x, y, 0, 0.7, 0.42, 0.14)
    return np.maximum(np.maximum(shade, pole), foot)


def _bottle(x: Plane, y: Plane) -> Plane:
    body = _box(x, y, -0.3, 0.3, -0.3, 0.85)
    shoulder = _disc(x, y, 0, -0.3, 0.3, 0.25)
    neck = _box(x, y, -0.11, 0.11, -0.85, -0.3)
    return np.maximum(np.maximum(body, shoulder), neck)


def _hat(x: Plane, y: Plane) -> Plane:
    crown = np.minimum(_disc(x, y, 0, 0.15, 0.5, 0.65), 0.2 - y)
    brim = _disc(x, y, 0, 0.25, 0.88, 0.17)
    return np.maximum(crown, brim)


_OUTLINES: dict[str, Callable[[Plane, Plane], Plane]] = {
    "shirt": _shirt, "trousers": _trousers, "shoe": _shoe, "bag": _bag, "cup": _cup,
    "lamp": _lamp, "bottle": _bottle, "hat": _hat,
}
