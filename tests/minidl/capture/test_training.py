"""A captured step is the step: bit for bit, over whole trainings."""

import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn, optim

STEPS = 20


def batches(count, *makers, seed=0):
    rng = np.random.default_rng(seed)
    return [tuple(minidl.tensor(make(rng)) for make in makers) for _ in range(count)]


def normal(*shape):
    return lambda rng: rng.standard_normal(shape).astype(np.float32)


def labels(n, *shape):
    return lambda rng: rng.integers(0, n, shape)


def train(build, data, captured):
    """What each step returned, and the state of the model after the last."""
    minidl.manual_seed(0)
    model, step = build()
    if captured:
        step = minidl.capture(step, fuse=False)
    minidl.manual_seed(1)
    results = []
    for batch in data:
        out = step(*batch)
        results.append([t.detach().numpy().copy() for t in (out if type(out) is tuple else (out,))])
    if captured:
        assert step.recordings == 2
        assert step.replays == len(data) - 2
    return results, {k: v.numpy().copy() for k, v in model.state_dict().items()}


def assert_same(build, data):
    eager, captured = train(build, data, False), train(build, data, True)
    for one, two in zip(eager[0], captured[0], strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    assert eager[1].keys() == captured[1].keys()
    for name, array in eager[1].items():
        np.testing.assert_array_equal(array, captured[1][name], err_msg=name)


def simple(model, optimizer, loss_of, schedule=None, clip=None):
    def step(*batch):
        optimizer.zero_grad()
        loss = loss_of(model, *batch)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule:
            schedule.step()
        return loss

    return model, step


def test_mlp_with_adam_schedule_dropout():
    def build():
        model = nn.Sequential(
            nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 32), nn.GELU(),
            nn.LayerNorm(32), nn.Linear(32, 4),
        )  # fmt: skip
        optimizer = optim.Adam(model.parameters(), lr=1e-2)
        schedule = optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
        loss = lambda m, x, y: F.cross_entropy(m(x), y)
        return simple(model, optimizer, loss, schedule)

    assert_same(build, batches(STEPS, normal(8, 16), labels(4, 8)))


def test_convolutions_with_batch_norm_and_clipping():
    def build():
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Dropout2d(0.2), nn.Conv2d(4, 8, 3), nn.LeakyReLU(0.1), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(32, 3), nn.BatchNorm1d(3),
        )  # fmt: skip
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
        return simple(model, optimizer, lambda m, x, y: F.cross_entropy(m(x), y), clip=0.5)

    assert_same(build, batches(STEPS, normal(6, 1, 12, 12), labels(3, 6)))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent(kind):
    def build():
        model = nn.ModuleDict({"rnn": kind(5, 8, batch_first=True), "out": nn.Linear(8, 2)})
        optimizer = optim.RMSprop(model.parameters(), lr=1e-3)

        def loss(m, x, y):
            states, _ = m["rnn"](x)
            return F.cross_entropy(m["out"](states[:, -1]), y)

        return simple(model, optimizer, loss, clip=1.0)

    assert_same(build, batches(STEPS, normal(4, 7, 5), labels(2, 4)))


def test_transformer_with_embedding():
    def build():
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        model = nn.ModuleDict({
            "goods": nn.Embedding(30, 16, padding_idx=0), "layers": nn.TransformerEncoder(layer, 2)
        })  # fmt: skip
        optimizer = optim.AdamW(model.parameters(), lr=1e-3)

        def loss(m, x, y):
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
            states = m["layers"](m["goods"](x), mask=mask)
            logits = states @ m["goods"].weight.T
            return F.cross_entropy(logits.reshape(-1, 30), y.reshape(-1), ignore_index=-100)

        return simple(model, optimizer, loss)

    assert_same(build, batches(STEPS, labels(30, 4, 6), labels(30, 4, 6)))


@pytest.mark.parametrize("form", [optim.SGD, optim.Adagrad, optim.SparseAdam, optim.Adam])
def test_row_sparse_gradients(form):
    def build():
        model = nn.ModuleDict({
            "users": nn.Embedding(40, 6, sparse=True), "goods": nn.Embedding(50, 6, sparse=True)
        })  # fmt: skip
        optimizer = form(model.parameters(), lr=0.1)

        def loss(m, u, i, j):
            u, i, j = m["users"](u), m["goods"](i), m["goods"](j)
            return -F.logsigmoid((u * (i - j)).sum(-1)).mean()

        return simple(model, optimizer, loss)

    assert_same(build, batches(STEPS, labels(40, 16), labels(50, 16), labels(50, 16)))


def test_joint_steps_of_two_networks():
    def build():
        g = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5))
        d = nn.Sequential(nn.Linear(5, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        for_g, for_d = optim.Adam(g.parameters(), 1e-3), optim.Adam(d.parameters(), 1e-3)
        bce = F.binary_cross_entropy_with_logits

        def step(real, noise):
            fake = g(noise)
            ones, zeros = minidl.ones(len(real), 1), minidl.zeros(len(real), 1)
            for_d.zero_grad()
            loss_d = bce(d(real), ones) + bce(d(fake.detach()), zeros)
            loss_d.backward()
            for_d.step()
            for_g.zero_grad()
            loss_g = bce(d(fake), ones)
            loss_g.backward()
            for_g.step()
            return loss_d, loss_g, fake

        return nn.ModuleList([g, d]), step

    assert_same(build, batches(STEPS, normal(6, 5), normal(6, 3)))


def test_gradient_penalty():
    """Second derivatives: the first gradient is on the tape."""

    def build():
        critic = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = optim.Adam(critic.parameters(), 1e-2)

        def step(real, fake):
            mix = minidl.rand(len(real), 1)
            x = (mix * real + (1 - mix) * fake).requires_grad_()
            (slope,) = minidl.grad(critic(x).sum(), x, create_graph=True)
            penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
            loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss, penalty

        return critic, step

    assert_same(build, batches(STEPS, normal(6, 5), normal(6, 5)))


def test_gradients_added_up_over_two_calls():
    def build():
        model = nn.Linear(4, 2)
        optimizer = optim.SGD(model.parameters(), 0.1)
        gather = minidl.capture(lambda x: run(x), fuse=False)

        def run(x):
            loss = (model(x) ** 2).mean()
            loss.backward()
            return loss

        def step(x, y):
            """Eager around a captured part: two gradients into one step."""
            optimizer.zero_grad()
            first, second = gather(x), gather(y)
            optimizer.step()
            return first, second

        step.gather = gather
        return model, step

    data = batches(12, normal(5, 4), normal(5, 4))
    minidl.manual_seed(0)
    model, step = build()
    captured = [[t.item() for t in step(*batch)] for batch in data]
    assert step.gather.replays == 2 * len(data) - 4
    minidl.manual_seed(0)
    plain = nn.Linear(4, 2)
    optimizer = optim.SGD(plain.parameters(), 0.1)
    for batch, losses in zip(data, captured):
        optimizer.zero_grad()
        for x, loss in zip(batch, losses):
            eager = (plain(x) ** 2).mean()
            eager.backward()
            assert eager.item() == loss
        optimizer.step()
    np.testing.assert_array_equal(model.weight.detach().numpy(), plain.weight.detach().numpy())


def test_average_of_weights():
    def build():
        model = nn.Linear(4, 2)
        average = optim.swa_utils.AveragedModel(
            model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9)
        )
        optimizer = optim.SGD(model.parameters(), 0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
            return loss

        return average, step

    assert_same(build, batches(STEPS, normal(5, 4)))


def test_in_place_changes_and_views():
    def build():
        model = nn.Linear(4, 6)
        optimizer = optim.SGD(model.parameters(), 0.1)
        seen = minidl.zeros(6)
        model.register_buffer("seen", seen)

        def step(x):
            optimizer.zero_grad()
            h = model(x)
            h[:, 0] = 0.0
            h[:, 1:3].mul_(2.0)
            left, right = h.chunk(2, dim=1)
            buffer = minidl.zeros(x.shape[0], 3)
            buffer += left
            buffer.add_(right, alpha=0.5)
            with minidl.no_grad():
                seen.mul_(0.9).add_(h.mean(0), alpha=0.1)
            loss = (buffer.T.contiguous() ** 2).mean() + h[::2, ::2].abs().sum()
            loss.backward()
            optimizer.step()
            return loss, buffer

        return model, step

    assert_same(build, batches(STEPS, normal(5, 4)))


def test_a_limit_on_weights_under_no_grad():
    """What the program text_cnn does after each step."""

    def build():
        model = nn.Linear(4, 3)
        optimizer = optim.Adadelta(model.parameters(), lr=1.0)

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            with minidl.no_grad():
                norm = model.weight.norm(2, dim=1, keepdim=True).clamp(min=1e-12)
                model.weight.mul_(minidl.clamp(norm, max=0.5) / norm)
            return loss

        return model, step

    assert_same(build, batches(STEPS, normal(5, 4), labels(3, 5)))
