"""The purchases of the generated shop: baskets by taste, repeats, follow-ups, returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..interactions import Interactions, encode
from .catalogue import CATEGORIES, TIERS, Catalogue, numbered

START = 1_672_617_600  # Monday, 2 January 2023, 00:00 UTC
WEEKS = 104
DAY = 86_400
FAULT_SHARE = 0.02  # of the rows, for each kind of planted fault
POSTAGE = ("POST", "DOT", "BANK CHARGES")


@dataclass(frozen=True)
class Habits:
    """How users buy: shares of the rows, and the mean rows of a basket."""

    repeat_rate: float = 0.12  # an item that the user bought before
    follow_rate: float = 0.2  # the follower of the user's last item
    theme_rate: float = 0.6  # else: the basket's own category instead of a new draw
    return_rate: float = 0.02
    basket: float = 2.5


@dataclass(frozen=True)
class Users:
    """U users. tastes: (U, categories), rows sum to 1; tier: (U,) the price level they like."""

    ids: NDArray[np.str_]
    tastes: NDArray[np.float64]
    tier: NDArray[np.int64]
    activity: NDArray[np.float64]


def make_users(n_users: int, rng: np.random.Generator) -> Users:
    """Users who like one category most (about two thirds), a second less, the others little."""
    k = len(CATEGORIES)
    favourite = rng.integers(k, size=n_users)
    second = (favourite + rng.integers(1, k, size=n_users)) % k
    tastes = np.full((n_users, k), 0.15 / k)
    rows = np.arange(n_users)
    tastes[rows, favourite] += 0.6
    tastes[rows, second] += 0.25
    activity = rng.pareto(2.0, n_users) + 0.3
    return Users(numbered("U", n_users), tastes, rng.integers(len(TIERS), size=n_users), activity)


def make_purchases(
    n: int, users: Users, catalogue: Catalogue, habits: Habits, rng: np.random.Generator
) -> Interactions:
    """n rows in order of time, purchases and returns; every column drawn as one array."""
    n_returns = int(n * habits.return_rate)
    bought = n - n_returns
    who, session, times, themes = _baskets(bought, users, habits, rng)
    items = _items(who, themes, users, catalogue, habits, rng)
    values = rng.geometric(0.6, bought).astype(np.float32)

    back = rng.choice(bought, n_returns, replace=False)
    n_sessions = int(session[-1]) + 1 if bought else 0
    users_all = np.concatenate([who, who[back]])
    items_all = np.concatenate([items, items[back]])
    values_all = np.concatenate([values, -values[back]])
    later = rng.integers(1, 30, n_returns) * DAY
    times_all = np.concatenate([times, times[back] + later])
    sessions_all = np.concatenate([session, n_sessions + np.arange(n_returns)])
    order = np.argsort(times_all, kind="stable")
    return Interactions(
        users_all[order], items_all[order], values_all[order], times_all[order],
        sessions_all[order], user_ids=users.ids, item_ids=catalogue.items["item"],
        session_ids=numbered("S", n_sessions + n_returns),
    )


def _baskets(
    n: int, users: Users, habits: Habits, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Rows sorted by user and time: user, session, time, the basket's category, (n,) each."""
    n_users = len(users.ids)
    count = max(int(n / habits.basket), 1)
    sizes = rng.geometric(1 / habits.basket, count).astype(np.int64)
    while sizes.sum() < n:
        sizes = np.append(sizes, rng.geometric(1 / habits.basket, count // 10 + 1))
    ends = np.cumsum(sizes)
    count = int(np.searchsorted(ends, n)) + 1
    sizes = sizes[:count]
    sizes[-1] -= ends[count - 1] - n
    share = np.cumsum(users.activity) / users.activity.sum()
    owner = np.minimum(np.searchsorted(share, rng.random(count)), n_users - 1)
    first = rng.permutation(n_users)[:count]  # a first basket for each user as far as they go
    owner[: len(first)] = first
    when = START + _days(count, rng) * DAY + (rng.beta(4, 3, count) * DAY).astype(np.int64)
    # Sessions in the order of user and time; rows of one follow each other by half a minute.
    order = np.lexsort((when, owner))
    owner, when, sizes = owner[order], when[order], sizes[order]
    theme = _draw(users.tastes, owner, rng)
    session = np.repeat(np.arange(count), sizes)
    place = np.arange(n) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return (
        owner[session].astype(np.int32), session, when[session] + 30 * place,
        theme[session].astype(np.int8),
    )


def _days(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Days: more on weekends, growth of a half over the span."""
    day = np.arange(WEEKS * 7)
    weight = np.where(day % 7 >= 5, 1.6, 1.0) * (1 + 0.5 * day / len(day))
    share = np.cumsum(weight) / weight.sum()
    return np.minimum(np.searchsorted(share, rng.random(count)), len(day) - 1)


def _draw(
    tastes: NDArray[np.float64], owner: NDArray, rng: np.random.Generator
) -> NDArray[np.int64]:
    """A category for each row from its owner's tastes, (N,)."""
    share = np.cumsum(tastes, axis=1)
    chance = rng.random(len(owner))
    drawn = np.zeros(len(owner), np.int64)
    for category in range(tastes.shape[1] - 1):
        drawn += chance >= share[owner, category]
    return drawn


def _items(
    who: NDArray[np.int32], theme: NDArray[np.int8], users: Users, catalogue: Catalogue,
    habits: Habits, rng: np.random.Generator,
) -> NDArray[np.int32]:
    """The item of each row; rows are sorted by user and time."""
    n = len(who)
    category = np.where(rng.random(n) < habits.theme_rate, theme, _draw(users.tastes, who, rng))
    # Seven of ten purchases are of the price level that the user likes.
    tier = np.where(rng.random(n) < 0.7, users.tier[who], rng.integers(len(TIERS), size=n))
    fresh = _popular(category * len(TIERS) + tier, catalogue, rng)

    # A row is fresh, repeats an earlier row of its user, or takes the follower of the row before.
    # All chains are followed at once by jumping pointers: item(row) = follower^steps(fresh[root]).
    first = np.append(True, who[1:] != who[:-1])
    start = np.maximum.accumulate(np.where(first, np.arange(n), 0))
    place = np.arange(n) - start
    chance = rng.random(n)
    repeats = (chance < habits.repeat_rate) & ~first
    follows = (chance >= habits.repeat_rate) & ~first
    follows &= chance < habits.repeat_rate + habits.follow_rate
    root = np.arange(n)
    earlier = start + (rng.random(n) * place).astype(np.int64)
    root[repeats] = earlier[repeats]
    root[follows] -= 1
    steps = follows.astype(np.int64)
    while True:
        up = root[root]
        if np.array_equal(up, root):
            break
        steps += steps[root]
        root = up
    return _ahead(fresh[root], steps, catalogue)


def _popular(
    cell: NDArray[np.int64], catalogue: Catalogue, rng: np.random.Generator
) -> NDArray[np.int64]:
    """An item of each row's cell (category and tier), by popularity, (N,)."""
    own = catalogue.category * len(TIERS) + catalogue.tier
    order = np.argsort(own, kind="stable")
    share = np.concatenate([[0.0], np.cumsum(catalogue.weight[order])])
    cells = np.arange(len(CATEGORIES) * len(TIERS) + 1)
    bounds = np.searchsorted(own[order], cells)
    # A cell without items (a tiny catalogue) lends those of the whole shop.
    empty = bounds[1:] == bounds[:-1]
    low = np.where(empty, 0, bounds[:-1])
    high = np.where(empty, len(order), bounds[1:])
    left, right = share[low], share[high]
    chance = left[cell] + rng.random(len(cell)) * (right - left)[cell]
    place = np.searchsorted(share, chance, side="right") - 1
    return order[np.clip(place, low[cell], high[cell] - 1)]


def _ahead(
    items: NDArray[np.int64], steps: NDArray[np.int64], catalogue: Catalogue
) -> NDArray[np.int32]:
    """The item that lies so many steps ahead in the cycle of its category, (N,)."""
    n_items = len(catalogue.follower)
    cycle = np.empty(n_items, np.int64)  # items in the order of their cycles, one after another
    start, size = np.empty(n_items, np.int64), np.empty(n_items, np.int64)
    filled = 0
    for category in range(len(CATEGORIES)):
        members = np.flatnonzero(catalogue.category == category)
        item = members[0] if len(members) else 0
        for step in range(len(members)):
            cycle[filled + step] = item
            item = catalogue.follower[item]
        start[members], size[members] = filled, len(members)
        filled += len(members)
    position = np.empty(n_items, np.int64)
    position[cycle] = np.arange(n_items)
    ahead = (position[items] - start[items] + steps) % size[items]
    return cycle[start[items] + ahead].astype(np.int32)


def add_faults(
    inter: Interactions, rng: np.random.Generator, share: float = FAULT_SHARE
) -> tuple[Interactions, dict[str, NDArray[np.int64]]]:
    """The rows with planted faults among them, and which rows those are, by the reason of clean().

    "duplicate": a purchase written twice; "non-product code": a line of postage or charges;
    "no user": a purchase without its customer; "return without purchase".
    """
    assert inter.values is not None
    assert inter.times is not None
    assert inter.sessions is not None
    n = len(inter)
    count = max(int(n * share), 1)
    pair = inter.users.astype(np.int64) * inter.n_items + inter.items
    returned = np.isin(pair, pair[inter.values < 0])
    sound = np.flatnonzero((inter.values > 0) & ~returned)
    rows = rng.permutation(sound)[: 4 * count]
    twice, posted, lost, alien = np.array_split(rows, 4)
    # A return of something that the user never bought: a free (user, item) pair.
    free = rng.integers(inter.n_items, size=len(alien))
    taken = np.isin(inter.users[alien].astype(np.int64) * inter.n_items + free, pair)
    alien, free = alien[~taken], free[~taken]
    free_pair = inter.users[alien].astype(np.int64) * inter.n_items + free
    _, once = np.unique(free_pair, return_index=True)
    alien, free = alien[once], free[once]

    codes = np.arange(len(posted)) % len(POSTAGE) + inter.n_items
    source = np.concatenate([np.arange(n), twice, posted, lost, alien])
    kind = np.repeat(np.arange(5), [n, len(twice), len(posted), len(lost), len(alien)])
    users, items = inter.users[source].copy(), inter.items[source].copy()
    values = inter.values[source].copy()
    items[kind == 2] = codes
    values[kind == 2] = 1
    users[kind == 3] = -1
    items[kind == 4], values[kind == 4] = free, -1
    order = np.argsort(inter.times[source], kind="stable")
    places, table = encode(np.concatenate([inter.item_ids, np.array(POSTAGE)]))
    dirty = Interactions(
        users[order], places[items[order]], values[order], inter.times[source][order],
        inter.sessions[source][order], user_ids=inter.user_ids,
        item_ids=table,
        session_ids=inter.session_ids,
    )
    names = ("duplicate", "non-product code", "no user", "return without purchase")
    kind = kind[order]
    return dirty, {name: np.flatnonzero(kind == k + 1) for k, name in enumerate(names)}
