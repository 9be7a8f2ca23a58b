"""`python -m minidl warmup [--for MODEL ...]`: compile kernels before they are needed.

A step of a small model of each kind compiles the kernels that such models call, and Numba's code
goes to the disk (`kernels/_cache`). Each model steps on a small batch and on one of an everyday
size, for a kernel has a form for each: without threads and with them. Other packages warm up models
of their own with `run`.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import minidl
from minidl import kernels, nn, optim
from minidl.nn import functional as F

Work = Callable[[], Any]


def run(models: Mapping[str, Work], names: Sequence[str] = ()) -> int:
    """Run the named models (without names all), and print what was compiled, and how long it took.

    Returns an exit code: 0, 1 where kernels are not compiled here, 2 for an unknown name.
    """
    unknown = [name for name in names if name not in models]
    if unknown:
        print(f"warmup: no model is called {', '.join(unknown)}; there is {', '.join(models)}",
              file=sys.stderr)  # fmt: skip
        return 2
    if not kernels.ENABLED:
        print("warmup: kernels are not compiled here (MINIDL_JIT=0 or no Numba)", file=sys.stderr)
        return 1
    start = time.perf_counter()
    for name in names or models:
        before, known = time.perf_counter(), dict(kernels.COMPILED)
        models[name]()
        new = [kernel for kernel, taken in kernels.COMPILED.items() if known.get(kernel) != taken]
        what = f"compiled {', '.join(new)}" if new else "all there already"
        print(f"  {name:14} {time.perf_counter() - before:5.1f} s  {what}", flush=True)
    print(f"all in {time.perf_counter() - start:.1f} s; they are loaded from the disk from now on")
    return 0


def _trained(model: Any, loss: Callable[[int], Any], sizes: tuple[int, ...], make: Any) -> None:
    optimizer = make(model.parameters())
    for size in sizes:
        for _ in range(2):
            optimizer.zero_grad()
            loss(size).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


def _train(model: Any, loss: Callable[[int], Any], sizes: tuple[int, ...] = (2, 64)) -> None:
    _trained(model, loss, sizes, lambda params: optim.Adam(params, lr=1e-3))


def _labels(n: int, classes: int) -> Any:
    return minidl.randint(0, classes, (n,))


def mlp() -> None:
    model = nn.Sequential(
        nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, 128), nn.GELU(),
        nn.LayerNorm(128), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1),
    )  # fmt: skip

    def loss(n: int) -> Any:
        logits = model(minidl.randn(n, 128))
        return F.binary_cross_entropy_with_logits(logits, minidl.rand(n, 1))

    _train(model, loss, (16, 1024))


def textcnn() -> None:
    table = nn.Embedding(5000, 128)
    convs = nn.ModuleList([nn.Conv1d(128, 100, size) for size in (3, 4, 5)])
    last = nn.Linear(300, 2)
    model = nn.ModuleList([table, convs, last])

    def loss(n: int) -> Any:
        x = table(minidl.randint(0, 5000, (n, 50))).transpose(1, 2)
        tops = [F.relu(conv(x)).amax(2) for conv in convs]
        return F.cross_entropy(last(minidl.cat(tops, 1)), _labels(n, 2))

    _train(model, loss)


def recurrent(kind: str) -> Work:
    def work() -> None:
        layer, last = getattr(nn, kind)(128, 128, batch_first=True), nn.Linear(128, 2)

        def loss(n: int) -> Any:
            outs, _ = layer(minidl.randn(n, 50, 128))
            return F.cross_entropy(last(outs[:, -1]), _labels(n, 2))

        _train(nn.ModuleList([layer, last]), loss)

    return work


def sasrec() -> None:
    table = nn.Embedding(2000, 64, padding_idx=0)
    block = nn.TransformerEncoderLayer(
        64, 2, 256, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
    )
    norm = nn.LayerNorm(64)

    def loss(n: int) -> Any:
        ids = minidl.randint(1, 2000, (n, 50))
        mask = nn.Transformer.generate_square_subsequent_mask(50)
        x = norm(block(table(ids), src_mask=mask, is_causal=True))
        drawn = (x * table(minidl.randint(1, 2000, (n, 50)))).sum(-1)
        one = F.binary_cross_entropy_with_logits(drawn, minidl.ones(n, 50))
        q = x.reshape(n, 50, 2, 32).transpose(1, 2)
        looked = F.scaled_dot_product_attention(q, q, q, is_causal=True).mean()
        return one + looked + F.cross_entropy(x[:, -1] @ table.weight.T, ids[:, 0])

    _train(nn.ModuleList([table, block, norm]), loss, (2, 128))


def cnn() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 49, 128),
        nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    _train(model, lambda n: F.cross_entropy(model(minidl.randn(n, 1, 28, 28)), _labels(n, 10)))


def dcgan() -> None:
    maker = nn.Sequential(
        nn.ConvTranspose2d(64, 64, 7), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(64 * 49, 1),
    )  # fmt: skip

    def loss(n: int) -> Any:
        score = critic(maker(minidl.randn(n, 64, 1, 1)))
        real = critic(minidl.randn(n, 1, 28, 28))
        judged = F.binary_cross_entropy_with_logits(real, minidl.ones(n, 1))
        return F.softplus(-score).mean() + judged

    _train(nn.ModuleList([maker, critic]), loss)


def bpr() -> None:
    users, items = (nn.Embedding(3000, 64, sparse=True) for _ in range(2))

    def loss(n: int) -> Any:
        who, liked, other = (minidl.randint(0, 3000, (n,)) for _ in range(3))
        u = users(who)
        return -F.logsigmoid((u * (items(liked) - items(other))).sum(-1)).mean()

    model = nn.ModuleList([users, items])
    for make in (optim.SparseAdam, optim.Adagrad, lambda params: optim.SGD(params, lr=0.1)):
        _trained(model, loss, (16, 4096), make)


def mf() -> None:
    """Ratings from factors and biases."""
    tables = nn.ModuleList([nn.Embedding(3000, size) for size in (64, 64, 1, 1)])

    def loss(n: int) -> Any:
        who, what = (minidl.randint(0, 3000, (n,)) for _ in range(2))
        (p, q, a, b) = tables
        return F.mse_loss((p(who) * q(what)).sum(-1) + (a(who) + b(what))[:, 0], minidl.randn(n))

    _train(tables, loss, (16, 4096))


MODELS: dict[str, Work] = {
    "mlp": mlp, "textcnn": textcnn, "gru": recurrent("GRU"), "lstm": recurrent("LSTM"),
    "sasrec": sasrec, "cnn": cnn, "dcgan": dcgan, "bpr": bpr, "mf": mf,
}  # fmt: skip
