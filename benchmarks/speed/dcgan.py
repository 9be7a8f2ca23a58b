"""A DCGAN (Radford et al. 2016) of 28 x 28 pictures: one step of the critic, one of the maker."""

import functools
from typing import ClassVar

import numpy as np

from benchmarks.speed._step import Step, between, in_turn


class DCGAN(Step):
    rows = 64
    noise = 64
    channels = (64, 32)  # of the maker; the critic has them the other way round
    base = 7  # side of the smallest picture
    kernel = 4
    repeats = 2
    parts = ("made", "critic_loss", "maker_loss")
    adam: ClassVar = {"betas": (0.5, 0.999)}

    small: ClassVar = {"rows": 3, "noise": 4, "channels": (5, 3), "base": 2}

    @staticmethod
    def drawn(rng):
        return {
            "rows": between(rng, 16, 128), "noise": between(rng, 32, 128),
            "channels": (between(rng, 32, 96), between(rng, 16, 48)),
            "base": int(rng.integers(4, 9)),
        }  # fmt: skip

    def shapes(self):
        (many, few), k = self.channels, self.kernel
        shapes = {"maker.0.weight": (self.noise, many, self.base, self.base),
                  "maker.0.bias": (many,)}  # fmt: skip
        for i, shape in ((3, (many, few, k, k)), (6, (few, 1, k, k))):
            shapes[f"maker.{i - 2}.weight"] = shapes[f"maker.{i - 2}.bias"] = shape[:1]
            shapes[f"maker.{i - 2}.running_mean"] = shape[:1]
            shapes[f"maker.{i - 2}.running_var"] = shape[:1]
            shapes[f"maker.{i - 2}.num_batches_tracked"] = ()
            shapes[f"maker.{i}.weight"] = shape
            shapes[f"maker.{i}.bias"] = shape[1:2]
        for i, shape in ((0, (few, 1, k, k)), (2, (many, few, k, k)),
                         (5, (1, many * self.base**2))):  # fmt: skip
            shapes[f"critic.{i}.weight"] = shape
            shapes[f"critic.{i}.bias"] = shape[:1]
        return shapes

    def batch(self, rng):
        side = 4 * self.base
        real = np.tanh(rng.standard_normal((self.rows, 1, side, side), np.float32))
        return real, rng.standard_normal((self.rows, self.noise, 1, 1), np.float32)

    def model(self, lib, nn, F):
        (many, few), k = self.channels, self.kernel
        pad = (k - 2) // 2
        maker = nn.Sequential(
            nn.ConvTranspose2d(self.noise, many, self.base),
            nn.BatchNorm2d(many), nn.ReLU(),
            nn.ConvTranspose2d(many, few, k, stride=2, padding=pad),
            nn.BatchNorm2d(few), nn.ReLU(),
            nn.ConvTranspose2d(few, 1, k, stride=2, padding=pad),
            nn.Tanh(),
        )  # fmt: skip
        critic = nn.Sequential(
            nn.Conv2d(1, few, k, stride=2, padding=pad), nn.LeakyReLU(0.2),
            nn.Conv2d(few, many, k, stride=2, padding=pad), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(many * self.base**2, 1),
        )  # fmt: skip
        return nn.ModuleDict({"maker": maker, "critic": critic})

    def made(self, maker, noise):
        return maker(noise)

    def critic_loss(self, F, critic, real, made):
        return (F.softplus(-critic(real)) + F.softplus(critic(made))).mean()

    def maker_loss(self, F, critic, made):
        return F.softplus(-critic(made)).mean()

    def step(self, lib, F, optim, model):
        maker, critic = model["maker"], model["critic"]
        of_maker = optim.Adam(maker.parameters(), lr=self.lr, **self.adam)
        of_critic = optim.Adam(critic.parameters(), lr=self.lr, **self.adam)

        def step(real, noise):
            made = self.made(maker, noise)
            of_critic.zero_grad()
            critic_loss = self.critic_loss(F, critic, real, made.detach())
            critic_loss.backward()
            of_critic.step()
            of_maker.zero_grad()
            maker_loss = self.maker_loss(F, critic, made)
            maker_loss.backward()
            of_maker.step()
            return critic_loss.detach() + maker_loss.detach()

        return step

    def jax(self):
        import jax

        from benchmarks.speed._jax import adam, moments

        weights = {k: v for k, v in self.weights().items() if v.dtype == np.float32}
        params = jax.device_put(weights)

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def update(params, state, real, noise):
            maker, critic = (part(params, "maker"), part(params, "critic"))
            made, pull, running = jax.vjp(
                lambda maker: self.jax_made(jax, maker, noise), maker, has_aux=True
            )

            def critic_loss(critic):
                right, wrong = (self.jax_critic(jax, critic, x) for x in (real, made))
                return (jax.nn.softplus(-right) + jax.nn.softplus(wrong)).mean()

            def maker_loss(made, critic):
                return jax.nn.softplus(-self.jax_critic(jax, critic, made)).mean()

            first, dcritic = jax.value_and_grad(critic_loss)(critic)
            critic, critic_state = adam(
                jax, critic, dcritic, state["critic"], self.lr, self.adam["betas"]
            )
            second, dmade = jax.value_and_grad(maker_loss)(made, critic)
            (dmaker,) = pull(dmade)
            maker, maker_state = adam(
                jax, maker, dmaker, state["maker"], self.lr, self.adam["betas"]
            )
            state = {"critic": critic_state, "maker": maker_state}
            return {**critic, **maker, **running}, state, first + second

        state = {name: moments(jax, part(params, name)) for name in ("maker", "critic")}

        def step(*batch):
            nonlocal params, state
            params, state, loss = update(params, state, *batch)
            return loss

        return in_turn(step, [jax.device_put(batch) for batch in self.data()])

    def jax_made(self, jax, p, noise):
        """The pictures, and the running statistics that batch norm keeps."""
        running, x, pad = {}, noise, (self.kernel - 2) // 2
        for i, stride, padding in ((0, 1, 0), (3, 2, pad), (6, 2, pad)):
            weight = p[f"maker.{i}.weight"]
            side = weight.shape[-1] - 1 - padding
            x = jax.lax.conv_general_dilated(
                x, weight[:, :, ::-1, ::-1].swapaxes(0, 1), (1, 1), [(side, side)] * 2,
                lhs_dilation=(stride, stride),
            )  # fmt: skip
            x = x + p[f"maker.{i}.bias"][:, None, None]
            if i == 6:
                return jax.numpy.tanh(x), running
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            count = x.size // x.shape[1]
            for name, new in (("mean", mean), ("var", var * count / (count - 1))):
                name = f"maker.{i + 1}.running_{name}"
                running[name] = 0.9 * p[name] + 0.1 * new
            scale = p[f"maker.{i + 1}.weight"] / jax.numpy.sqrt(var + 1e-5)
            shift = p[f"maker.{i + 1}.bias"] - mean * scale
            x = jax.nn.relu(x * scale[:, None, None] + shift[:, None, None])
        raise AssertionError

    def jax_critic(self, jax, p, x):
        pad = (self.kernel - 2) // 2
        for i in (0, 2):
            weight = p[f"critic.{i}.weight"]
            x = jax.lax.conv_general_dilated(x, weight, (2, 2), [(pad, pad)] * 2)
            x = jax.nn.leaky_relu(x + p[f"critic.{i}.bias"][:, None, None], 0.2)
        return x.reshape(len(x), -1) @ p["critic.5.weight"].T + p["critic.5.bias"]

    def flops(self):
        (many, few), k, s = self.channels, self.kernel, self.base
        first = 2 * self.rows * self.noise * many * s**2
        middle = 2 * self.rows * many * few * k**2 * (2 * s) ** 2 / 4
        last = 2 * self.rows * few * k**2 * (4 * s) ** 2 / 4
        line = 2 * self.rows * many * s**2
        maker = 3 * (first + middle + last) - first  # noise needs no gradient
        critic = 3 * (last + middle + line)
        return maker + 2 * (critic - last) + critic  # of pictures only the maker's backward


def part(params, name):
    return {key: value for key, value in params.items() if key.startswith(name)}
