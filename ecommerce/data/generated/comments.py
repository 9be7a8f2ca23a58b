"""Reviews of the generated shop: sentences about aspects, whose tone the product decides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..interactions import Interactions
from ..review_files import Reviews
from .catalogue import CATEGORIES, NOUNS, Catalogue
from .purchases import DAY, Users

ASPECTS = ("price", "size", "quality", "delivery", "colour")

# aspect -> (negative sentences, positive sentences) with {kind}.
ENGLISH = {
    "price": (
        ("far too expensive for a {kind}", "overpriced , not worth the money",
         "the price is a joke"),
        ("great value for the price", "cheap and worth every cent", "a fair price for this {kind}"),
    ),
    "size": (
        ("the {kind} is much too small", "size runs wrong , had to send it back",
         "it does not fit at all"),
        ("fits perfectly", "the size is just right", "true to size and comfortable"),
    ),
    "quality": (
        ("poor quality , broke after a week", "cheaply made and falling apart",
         "the material feels flimsy"),
        ("excellent quality , well made", "sturdy {kind} , made to last",
         "the material feels lovely"),
    ),
    "delivery": (
        ("delivery took a month", "it arrived late and the box was damaged",
         "shipping was slow and careless"),
        ("fast delivery , well packed", "arrived a day early", "shipping was quick and careful"),
    ),
    "colour": (
        ("the colour is nothing like the picture", "the colour faded after one wash",
         "an ugly dull shade"),
        ("the colour is beautiful", "lovely bright colour as in the picture",
         "the shade is gorgeous"),
    ),
}
CHINESE = {
    "price": (
        ("价格太贵了，不值这个钱", "性价比很低", "这个{kind}卖得太贵"),
        ("价格实惠，很划算", "性价比很高", "这个价钱买{kind}很值"),
    ),
    "size": (
        ("尺寸太小了，不合适", "尺码不准，只好退货", "大小完全不对"),
        ("尺寸刚刚好", "尺码标准，很合身", "大小正合适"),
    ),
    "quality": (
        ("质量很差，用了一周就坏了", "做工粗糙，材料单薄", "质量太差，很失望"),
        ("质量很好，做工精细", "{kind}结实耐用", "材料手感很好，质量不错"),
    ),
    "delivery": (
        ("快递太慢了，等了一个月", "物流很慢，包装都破了", "送货拖拉，服务差"),
        ("快递很快，包装完好", "物流给力，第二天就到了", "送货及时，服务好"),
    ),
    "colour": (
        ("颜色和图片差很多", "洗一次就掉色", "颜色暗淡难看"),
        ("颜色很漂亮", "颜色鲜艳，和图片一样", "色彩很正，喜欢"),
    ),
}
TITLES = (
    ("very bad", "disappointed", "it is okay", "good", "excellent"),
    ("很差", "失望", "一般", "不错", "非常好"),
)
CHINESE_SHARE = 0.3  # of the users


def make_aspects(catalogue: Catalogue, rng: np.random.Generator) -> NDArray[np.float64]:
    """How good each product is in each aspect, (V, aspects) in -1 ... 1; most are rather good."""
    strength = rng.normal(0.3, 0.7, (len(catalogue.items), len(ASPECTS)))
    return np.clip(strength, -1, 1)


def make_reviews(
    n: int, inter: Interactions, users: Users, catalogue: Catalogue,
    aspects: NDArray[np.float64], rng: np.random.Generator,
) -> tuple[Reviews, NDArray[np.int8]]:
    """n reviews of purchases, and what they say of each aspect: -1, 0 (nothing) or 1, (n, aspects).

    An aspect that is spoken of is praised with probability 1 / (1 + exp(-4 strength)). Stars are
    3 + 2 times the mean tone, with some noise.
    """
    assert inter.values is not None
    assert inter.times is not None
    bought = np.flatnonzero(inter.values > 0)
    rows = rng.choice(bought, n, replace=n > len(bought))
    who, what = inter.users[rows], inter.items[rows]
    chinese = rng.random(len(users.ids)) < CHINESE_SHARE
    # One to three aspects a review: those with the lowest of random ranks.
    rank = np.argsort(np.argsort(rng.random((n, len(ASPECTS))), axis=1), axis=1)
    spoken = rank < rng.integers(1, 4, n)[:, None]
    praised = rng.random((n, len(ASPECTS))) < 1 / (1 + np.exp(-4 * aspects[what]))
    tone = np.where(spoken, np.where(praised, 1, -1), 0).astype(np.int8)
    mean = tone.sum(axis=1) / spoken.sum(axis=1)
    stars = np.clip(np.rint(3 + 2 * mean + rng.normal(0, 0.5, n)), 1, 5).astype(np.int64)
    choice = rng.integers(3, size=(n, len(ASPECTS)))
    texts, titles = [], []
    order = np.argsort(rng.random((n, len(ASPECTS))), axis=1)
    for tones, picks, places, kind, zh, star in zip(
        tone.tolist(), choice.tolist(), order.tolist(),
        catalogue.category[what].tolist(), chinese[who].tolist(), stars.tolist(),
    ):
        english, chinese_name = CATEGORIES[kind][:2]
        words, name = (
            (CHINESE, chinese_name) if zh else (ENGLISH, NOUNS.get(english, english))
        )
        parts = [
            words[ASPECTS[a]][tones[a] > 0][picks[a]].format(kind=name)
            for a in places if tones[a]
        ]
        texts.append("，".join(parts) + "。" if zh else " . ".join(parts) + " .")
        titles.append(TITLES[zh][star - 1])
    reviews = Reviews(
        text=np.array(texts, object), title=np.array(titles, object),
        item=inter.item_ids[what], user=inter.user_ids[who],
        rating=stars.astype(np.float64), label=(stars >= 4).astype(np.int64),
        time=inter.times[rows] + rng.integers(1, 21, n) * DAY,
        language=np.where(chinese[who], "zh", "en"),
    )
    return reviews, tone
