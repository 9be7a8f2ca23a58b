"""A DCGAN (Radford et al. 2016) of 28 x 28 pictures: one step of the critic, one of the maker."""

import numpy as np

from benchmarks.speed._step import Step


class DCGAN(Step):
    rows = 64
    noise = 64
    channels = (64, 32)  # of the maker; the critic has them the other way round
    base = 7  # side of the smallest picture
    kernel = 4
    repeats = 2

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

    def step(self, lib, F, optim, model):
        maker, critic = model["maker"], model["critic"]
        of_maker = optim.Adam(maker.parameters(), lr=self.lr, betas=(0.5, 0.999))
        of_critic = optim.Adam(critic.parameters(), lr=self.lr, betas=(0.5, 0.999))

        def step(real, noise):
            made = maker(noise)
            of_critic.zero_grad()
            critic_loss = (F.softplus(-critic(real)) + F.softplus(critic(made.detach()))).mean()
            critic_loss.backward()
            of_critic.step()
            of_maker.zero_grad()
            maker_loss = F.softplus(-critic(made)).mean()
            maker_loss.backward()
            of_maker.step()
            return critic_loss.detach() + maker_loss.detach()

        return step

    def flops(self):
        (many, few), k, s = self.channels, self.kernel, self.base
        first = 2 * self.rows * self.noise * many * s**2
        middle = 2 * self.rows * many * few * k**2 * (2 * s) ** 2 / 4
        last = 2 * self.rows * few * k**2 * (4 * s) ** 2 / 4
        line = 2 * self.rows * many * s**2
        maker = 3 * (first + middle + last) - first  # noise needs no gradient
        critic = 3 * (last + middle + line)
        return maker + 2 * (critic - last) + critic  # of pictures only the maker's backward
