"""SASRec (Kang & McAuley 2018): a causal transformer over what a customer took."""

from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between, skewed


class SASRecBCE(Step):
    """Pre-norm blocks of attention and a GELU network 4 times as wide; item 0 is padding.

    The loss is binary cross-entropy of the next item against one drawn item at each position.
    """

    items = 12_101
    dim = 64
    time = 50
    rows = 128
    blocks = 2
    heads = 2
    repeats = 1

    small: ClassVar = {"items": 50, "dim": 8, "time": 6, "rows": 4}

    @staticmethod
    def drawn(rng):
        heads = int(rng.choice([1, 2, 4]))
        return {
            "items": between(rng, 2_000, 50_000), "heads": heads,
            "dim": between(rng, 32, 128, 4 * heads), "time": between(rng, 20, 100),
            "rows": between(rng, 32, 256), "blocks": int(rng.integers(1, 4)),
        }  # fmt: skip

    def shapes(self):
        d = self.dim
        shapes = {"items.weight": (self.items + 1, d), "places.weight": (self.time, d)}
        for i in range(self.blocks):
            for name, shape in {
                "norm1": (d,), "qkv": (3 * d, d), "project": (d, d), "norm2": (d,),
                "wide": (4 * d, d), "narrow": (d, 4 * d),
            }.items():  # fmt: skip
                shapes[f"blocks.{i}.{name}.weight"] = shape
                shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
        shapes["norm.weight"] = shapes["norm.bias"] = (d,)
        return shapes

    def batch(self, rng):
        """Sequences of T/2 to T items, padded on the right, the next items and drawn ones."""
        ids = skewed(rng, self.items + 1, (self.rows, self.time + 1))
        lengths = rng.integers(self.time // 2, self.time + 1, self.rows)
        real = np.arange(self.time) < lengths[:, None]  # (B, T)
        drawn = rng.integers(1, self.items + 1, (self.rows, self.time))
        return ids[:, :-1] * real, ids[:, 1:] * real, drawn, real.astype(np.float32)

    def model(self, lib, nn, F):
        d, heads, work = self.dim, self.heads, self

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm1 = nn.LayerNorm(d)
                self.qkv = nn.Linear(d, 3 * d)
                self.project = nn.Linear(d, d)
                self.norm2 = nn.LayerNorm(d)
                self.wide = nn.Linear(d, 4 * d)
                self.narrow = nn.Linear(4 * d, d)

            def forward(self, x):
                rows, time, _ = x.shape
                qkv = self.qkv(self.norm1(x)).view(rows, time, 3, heads, d // heads)
                q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, D/H) each
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                x = x + self.project(mixed.transpose(1, 2).reshape(rows, time, d))
                return x + self.narrow(F.gelu(self.wide(self.norm2(x))))

        class SASRec(nn.Module):
            def __init__(self):
                super().__init__()
                self.items = nn.Embedding(work.items + 1, d, padding_idx=0)
                self.places = nn.Embedding(work.time, d)
                self.blocks = nn.ModuleList([Block() for _ in range(work.blocks)])
                self.norm = nn.LayerNorm(d)

            def forward(self, ids):
                x = self.items(ids) * d**0.5 + self.places.weight  # (B, T, D)
                for block in self.blocks:
                    x = block(x)
                return self.norm(x)

        return SASRec()

    def loss(self, F, model, ids, following, drawn, real):
        x = model(ids)
        liked = (x * model.items(following)).sum(-1)  # (B, T)
        other = (x * model.items(drawn)).sum(-1)
        each = F.softplus(-liked) + F.softplus(other)
        return (each * real).sum() / real.sum()

    def jax_states(self, jax, p, ids):
        from benchmarks.speed._jax import layer_norm, linear

        np, d = jax.numpy, self.dim
        x = p["items.weight"][ids] * d**0.5 + p["places.weight"]  # (B, T, D)
        rows, time, _ = x.shape
        causal = np.tril(np.ones((time, time), bool))
        for i in range(self.blocks):
            name = f"blocks.{i}."
            qkv = linear(p, name + "qkv", layer_norm(jax, p, name + "norm1", x))
            qkv = qkv.reshape(rows, time, 3, self.heads, -1)
            q, k, v = np.moveaxis(qkv, 2, 0)  # (B, T, H, D/H) each
            scores = np.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
            shares = jax.nn.softmax(np.where(causal, scores, -np.inf))
            mixed = np.einsum("bhts,bshd->bthd", shares, v).reshape(rows, time, d)
            x = x + linear(p, name + "project", mixed)
            wide = linear(p, name + "wide", layer_norm(jax, p, name + "norm2", x))
            x = x + linear(p, name + "narrow", jax.nn.gelu(wide, approximate=False))
        return layer_norm(jax, p, "norm", x)

    def jax_table(self, jax, p):
        """The items' vectors; the padding item's gets no gradient."""
        table = p["items.weight"]
        return table.at[0].set(jax.lax.stop_gradient(table[0]))

    def jax_loss(self, jax, p, ids, following, drawn, real):
        p = {**p, "items.weight": self.jax_table(jax, p)}
        x, table = self.jax_states(jax, p, ids), p["items.weight"]
        liked, other = (x * table[following]).sum(-1), (x * table[drawn]).sum(-1)
        each = jax.nn.softplus(-liked) + jax.nn.softplus(other)
        return (each * real).sum() / real.sum()

    def flops(self):
        d, positions = self.dim, self.rows * self.time
        block = 2 * positions * (12 * d * d) + 4 * positions * self.time * d / 2  # causal half
        return 3 * self.blocks * block


class SASRecCE(SASRecBCE):
    """The loss is cross-entropy over all items at the last position."""

    def batch(self, rng):
        ids, _, _, real = super().batch(rng)
        last = real.sum(1).astype(np.int64) - 1
        return ids, last, skewed(rng, self.items + 1, (self.rows,))

    def model(self, lib, nn, F):
        model = super().model(lib, nn, F)
        model.every = lib.arange(self.rows)
        return model

    def loss(self, F, model, ids, last, following):
        x = model(ids)[model.every, last]  # (B, D)
        return F.linear_cross_entropy(x, model.items.weight, following)

    def jax_loss(self, jax, p, ids, last, following):
        from benchmarks.speed._jax import cross_entropy

        table = self.jax_table(jax, p)
        x = self.jax_states(jax, {**p, "items.weight": table}, ids)
        x = x[jax.numpy.arange(self.rows), last]  # (B, D)
        return cross_entropy(jax, x @ p["items.weight"].T, following)

    def flops(self):
        return super().flops() + 3 * 2 * self.rows * self.dim * (self.items + 1)
