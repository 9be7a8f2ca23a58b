"""Random programs of views, changes in place and reads, against PyTorch: values and gradients."""

import numpy as np
import pytest

import minidl

torch = pytest.importorskip("torch")


class Both:
    """One step on a minidl tensor and on a torch tensor."""

    def __init__(self, rng):
        self.rng = rng
        values = rng.uniform(0.5, 1.5, (2, 3, 4))
        other = rng.uniform(0.5, 1.5, (4,))
        self.leaves = [
            (minidl.tensor(v, requires_grad=True), torch.tensor(v, requires_grad=True))
            for v in (values, other)
        ]
        first = [x * 1.0 for x in self.leaves[0]]
        self.pool = [first]
        self.reads = []

    def pick(self):
        return self.pool[self.rng.integers(len(self.pool))]

    def view(self):
        m, t = self.pick()
        n = t.dim()
        choices = []
        if n:
            axis = int(self.rng.integers(n))
            size = t.shape[axis]
            if size:
                i = int(self.rng.integers(size))
                choices += [
                    lambda x: x.select(axis, i),
                    lambda x: x.narrow(axis, i, size - i),
                    lambda x: x[(*(slice(None),) * axis, slice(i, None, 2))],
                    # torch forbids changes of a view that came with others: the same view alone
                    (lambda x: x.chunk(2, axis)[0], lambda x: x.narrow(axis, 0, (size + 1) // 2)),
                    (lambda x: x.unbind(axis)[i], lambda x: x.select(axis, i)),
                    (lambda x: x.split(1, axis)[-1], lambda x: x.narrow(axis, size - 1, 1)),
                ]
            choices += [lambda x: x.unsqueeze(axis), lambda x: x[..., None], lambda x: x.detach()]
            choices += [lambda x: x.flatten() if t.is_contiguous() else x.transpose(0, -1)]
        if n > 1:
            choices += [
                lambda x: x.transpose(0, n - 1),
                lambda x: x.diagonal(0, 0, 1),
                lambda x: x.permute(*range(1, n), 0),
                lambda x: x.movedim(0, -1),
            ]
        if not choices:
            return
        # detach changes behind the tape's back are an error in both: keep them rare
        f = choices[int(self.rng.integers(len(choices)))]
        f, g = f if isinstance(f, tuple) else (f, f)
        views = f(m), g(t)
        if t.numel() and not (views[1].grad_fn is None and t.grad_fn is not None):
            self.pool.append(views)

    def change(self):
        m, t = self.pick()
        c = float(self.rng.uniform(0.5, 1.5))
        weights = list(self.leaves[1])
        fits = t.dim() > 0 and t.shape[-1] == 4
        choices = [
            lambda x, w: x.add_(c),
            lambda x, w: x.mul_(c),
            lambda x, w: x.sub_(x * c),
            lambda x, w: x.tanh_(),
            lambda x, w: x.exp_().mul_(0.2),
            lambda x, w: x.clamp_(0.2, 1.2),
            lambda x, w: x.fill_(c) if c > 1.4 else x.neg_(),
            lambda x, w: x.pow_(2),
            lambda x, w: x.copy_(w[0] * c),
            lambda x, w: x.__iadd__(w[1]),
            lambda x, w: x.masked_fill_(x > 1, c),
            lambda x, w: x.zero_() if c > 1.45 else x.sigmoid_(),
        ]
        if fits:
            choices += [
                lambda x, w: x.mul_(w),
                lambda x, w: x.add_(w),
                lambda x, w: x.copy_(w),
                lambda x, w: x.div_(w * w + 1),
                lambda x, w: x.addcmul_(x, w, value=c),
                lambda x, w: x.lerp_(w, 0.3),
                lambda x, w: x.__setitem__((..., slice(1, 3)), w[:2] * c),
                lambda x, w: x.__setitem__(Ellipsis, w),
            ]
        if t.dim():
            ids = self.rng.permutation(t.shape[0])[: max(1, t.shape[0] - 1)]
            choices += [
                lambda x, w: x.__setitem__(0, c),
                lambda x, w: x.__setitem__(slice(None, None, 2), w[0]),
                lambda x, w: x.__setitem__(self.ids(x, ids), w[3] * c),
                lambda x, w: x.__setitem__(x > 1.1, c),
                lambda x, w: x.index_fill_(0, self.ids(x, ids), c),
                lambda x, w: x.index_add_(0, self.ids(x, ids), x.detach()[: len(ids)].clone()),
            ]
        f = choices[int(self.rng.integers(len(choices)))]
        f(m, weights[0])
        f(t, weights[1])

    def ids(self, x, ids):
        return torch.tensor(ids) if isinstance(x, torch.Tensor) else minidl.tensor(ids)

    def read(self):
        m, t = self.pick()
        f = [
            lambda x: (x * x).sum(),
            lambda x: x.exp().sum(),
            lambda x: (x.reshape(-1) * x.reshape(-1)).sum(),
            lambda x: x.sum() * 2,
            lambda x: x.contiguous().tanh().sum(),
        ][int(self.rng.integers(5))]
        self.reads.append((f(m), f(t)))


def one_program(seed):
    """Whether torch's backward went through; compares if so."""
    rng = np.random.default_rng(seed)
    both = Both(rng)
    for _ in range(int(rng.integers(2, 10))):
        kind = rng.random()
        (both.view if kind < 0.4 else both.change if kind < 0.8 else both.read)()
        for m, t in both.pool:
            np.testing.assert_allclose(m.array, t.detach().numpy(), rtol=1e-9, atol=1e-12)
    both.reads += [((m * m * m).sum(), (t * t * t).sum()) for m, t in both.pool]
    total_m, total_t = sum(m for m, _ in both.reads), sum(t for _, t in both.reads)
    assert total_m.item() == pytest.approx(total_t.item(), rel=1e-9)
    leaves_m, leaves_t = zip(*both.leaves)
    order2 = seed % 3 == 0
    try:
        first_t = torch.autograd.grad(total_t, leaves_t, create_graph=order2, allow_unused=True)
    except RuntimeError as error:
        if "modified by an inplace" not in str(error):
            raise
        return False
    first_m = minidl.grad(total_m, leaves_m, create_graph=order2, allow_unused=True)
    compare(first_m, first_t)
    slope_t = [(g * g).sum() for g in first_t if g is not None and g.requires_grad]
    if order2 and slope_t:
        second_t = torch.autograd.grad(sum(slope_t), leaves_t, allow_unused=True)
        slope_m = sum((g * g).sum() for g in first_m if g is not None)
        compare(minidl.grad(slope_m, leaves_m, allow_unused=True), second_t)
    return True


def compare(ours, theirs):
    for m, t in zip(ours, theirs):
        if m is not None or t is not None:
            got = np.zeros(t.shape) if m is None else m.array
            want = np.zeros(m.shape) if t is None else t.detach().numpy()
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", range(0, 600, 100))
def test_random_programs(start):
    compared = 0
    for seed in range(start, start + 100):
        try:
            compared += one_program(seed)
        except AssertionError as error:
            raise AssertionError(f"program {seed}: {error}") from None
    assert compared > 40
