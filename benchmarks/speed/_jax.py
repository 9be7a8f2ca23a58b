"""What the workloads' models need in plain jax.numpy; the caller imports jax and hands it in."""

import functools


def training(jax, work):
    """step(*batch) -> loss: one jitted function with donated weights and moments."""
    params = jax.device_put(work.weights())
    state = moments(jax, params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, *batch):
        loss, grads = jax.value_and_grad(lambda p: work.jax_loss(jax, p, *batch))(params)
        params, state = adam(jax, params, grads, state, work.lr)
        return params, state, loss

    def step(*batch):
        nonlocal params, state
        params, state, loss = update(params, state, *batch)
        return loss

    return step


def moments(jax, params):
    """Adam's two means of each parameter and its count of steps."""
    m, v = ({name: jax.numpy.zeros_like(p) for name, p in params.items()} for _ in range(2))
    return {"m": m, "v": v, "t": jax.numpy.int32(0)}


def adam(jax, params, grads, state, lr, betas=(0.9, 0.999), eps=1e-8):
    """Kingma & Ba 2015, as torch.optim.Adam writes it."""
    t, (low, high) = state["t"] + 1, betas
    m, v, new = {}, {}, {}
    for name, g in grads.items():
        m[name] = low * state["m"][name] + (1 - low) * g
        v[name] = high * state["v"][name] + (1 - high) * g * g
        size = jax.numpy.sqrt(v[name] / (1 - high**t)) + eps
        new[name] = params[name] - lr / (1 - low**t) * m[name] / size
    return new, {"m": m, "v": v, "t": t}


def linear(p, name, x):
    return x @ p[name + ".weight"].T + p[name + ".bias"]


def layer_norm(jax, p, name, x):
    centred = x - x.mean(-1, keepdims=True)
    rstd = 1 / jax.numpy.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    return centred * rstd * p[name + ".weight"] + p[name + ".bias"]


def cross_entropy(jax, logits, classes):
    rows = jax.numpy.arange(len(classes))
    return -jax.nn.log_softmax(logits)[rows, classes].mean()


def logit_loss(jax, logits, y):
    """Binary cross-entropy of logits."""
    return (jax.nn.softplus(logits) - logits * y).mean()
