"""The products of the generated shop: category, brand, price, popularity, English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..items import Items

# English, Chinese, base price, materials (English, Chinese).
CATEGORIES = (
    ("shirt", "衬衫", 25.0, (("cotton", "纯棉"), ("linen", "亚麻"), ("silk", "真丝"))),
    ("trousers", "长裤", 40.0, (("denim", "牛仔"), ("wool", "羊毛"), ("twill", "斜纹"))),
    ("shoe", "鞋", 60.0, (("leather", "皮革"), ("canvas", "帆布"), ("mesh", "网面"))),
    ("bag", "手提包", 55.0, (("leather", "皮革"), ("nylon", "尼龙"), ("canvas", "帆布"))),
    ("cup", "杯子", 12.0, (("porcelain", "瓷"), ("glass", "玻璃"), ("steel", "不锈钢"))),
    ("lamp", "台灯", 35.0, (("brass", "黄铜"), ("paper", "纸质"), ("glass", "玻璃"))),
    ("bottle", "水瓶", 18.0, (("steel", "不锈钢"), ("glass", "玻璃"), ("bamboo", "竹"))),
    ("hat", "帽子", 20.0, (("felt", "毛毡"), ("straw", "草编"), ("knitted", "针织"))),
)
NOUNS = {"trousers": "pair of trousers", "shoe": "pair of shoes"}  # in sentences
COLOURS = (
    ("red", "红色"), ("blue", "蓝色"), ("green", "绿色"), ("black", "黑色"), ("white", "白色"),
    ("grey", "灰色"), ("yellow", "黄色"), ("brown", "棕色"),
)
TIERS = (  # English, Chinese, price factor
    ("simple", "实惠", 0.6), ("classic", "经典", 1.0), ("premium", "高端", 2.2),
)
BRANDS = (
    "Norvik", "Aldana", "Kestrel", "Mirelo", "Tamsin", "Oberon", "Lindqvist", "Sorano", "Fenwick",
    "Calder", "Ysolde", "Branka",
)
USES = (
    ("for everyday use", "适合日常使用"), ("for travel", "适合旅行"),
    ("for the office", "适合办公"),
    ("a fine gift", "送礼佳品"), ("for the weekend", "适合周末"),
)
ZIPF = 0.9  # popularity of rank r within a category is r ** -ZIPF


@dataclass(frozen=True)
class Catalogue:
    """What the purchases are drawn from; V items.

    items: the public attributes. category, tier (V,) int64. weight: (V,) relative popularity.
    follower: (V,) the item that buyers often take next, a cycle through each category.
    """

    items: Items
    category: NDArray[np.int64]
    tier: NDArray[np.int64]
    weight: NDArray[np.float64]
    follower: NDArray[np.int64]


def make_catalogue(n_items: int, rng: np.random.Generator) -> Catalogue:
    """n_items products, dealt evenly to categories and price tiers in random order."""
    cells = np.arange(n_items) % (len(CATEGORIES) * len(TIERS))
    cells = cells[rng.permutation(n_items)]
    category, tier = cells % len(CATEGORIES), cells // len(CATEGORIES)
    colour = rng.integers(len(COLOURS), size=n_items)
    material = rng.integers(3, size=n_items)
    use = rng.integers(len(USES), size=n_items)
    # A brand keeps to a few categories, as in a real shop: it tells something about the item.
    brand = (category * 3 + rng.integers(4, size=n_items)) % len(BRANDS)
    base = np.array([entry[2] for entry in CATEGORIES])[category]
    factor = np.array([entry[2] for entry in TIERS])[tier]
    price = np.round(base * factor * rng.uniform(0.8, 1.25, n_items), 2)

    weight = np.empty(n_items)
    follower = np.empty(n_items, np.int64)
    for c in range(len(CATEGORIES)):
        members = np.flatnonzero(category == c)
        ranks = rng.permutation(len(members)) + 1.0
        weight[members] = ranks**-ZIPF / max(float((ranks**-ZIPF).sum()), 1e-300)
        cycle = members[rng.permutation(len(members))]
        follower[cycle] = np.roll(cycle, -1)

    rows = list(zip(category.tolist(), tier.tolist(), colour.tolist(), material.tolist(),
                    use.tolist(), brand.tolist()))
    titles, texts, titles_zh, texts_zh = [], [], [], []
    for c, t, k, m, u, b in rows:
        kind, kind_zh, _, materials = CATEGORIES[c]
        (grade, grade_zh, _), (hue, hue_zh) = TIERS[t], COLOURS[k]
        (stuff, stuff_zh), (use_en, use_zh) = materials[m], USES[u]
        titles.append(f"{BRANDS[b]} {hue} {stuff} {kind}")
        texts.append(
            f"A {grade} {NOUNS.get(kind, kind)} of {stuff} in {hue} by {BRANDS[b]}, {use_en}."
        )
        titles_zh.append(f"{BRANDS[b]} {hue_zh}{stuff_zh}{kind_zh}")
        texts_zh.append(f"{BRANDS[b]}{grade_zh}{hue_zh}{stuff_zh}{kind_zh}，{use_zh}。")
    items = Items(
        item=numbered("P", n_items),
        title=np.array(titles, object),
        text=np.array(texts, object),
        category=np.array([entry[0] for entry in CATEGORIES])[category],
        brand=np.array(BRANDS)[brand],
        price=price,
        stock=rng.integers(0, 200, n_items).astype(np.float64),
        title_zh=np.array(titles_zh, object),
        text_zh=np.array(texts_zh, object),
    )
    return Catalogue(items, category, tier, weight, follower)


def numbered(letter: str, n: int, first: int = 0) -> NDArray[np.str_]:
    """Ids of one length, so that their order as text is that of their numbers."""
    width = max(5, len(str(first + n - 1)))
    return np.array([f"{letter}{i:0{width}d}" for i in range(first, first + n)], np.str_)
