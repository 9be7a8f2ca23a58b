"""WGAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028) on small images."""

import numpy as np
import torch
from torch import autograd, nn, optim

LAMBDA, CRITIC_ITERS, DIM, SIZE = 10, 2, 8, 8


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.preprocess = nn.Sequential(nn.Linear(12, 2 * DIM * 4), nn.ReLU(True))
        self.block1 = nn.Sequential(nn.ConvTranspose2d(2 * DIM, DIM, 2, stride=2), nn.ReLU(True))
        self.deconv_out = nn.ConvTranspose2d(DIM, 1, 2, stride=2)
        self.sigmoid = nn.Sigmoid()

    def forward(self, input):
        output = self.preprocess(input)
        output = output.view(-1, 2 * DIM, 2, 2)
        output = self.block1(output)
        output = self.deconv_out(output)
        output = self.sigmoid(output)
        return output.view(-1, SIZE * SIZE)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, DIM, 3, stride=2, padding=1),
            nn.LeakyReLU(),
            nn.Conv2d(DIM, 2 * DIM, 3, stride=2, padding=1),
            nn.Tanh(),
        )
        self.output = nn.Linear(2 * DIM * 4, 1)

    def forward(self, input):
        input = input.view(-1, 1, SIZE, SIZE)
        out = self.main(input)
        out = out.view(-1, 2 * DIM * 4)
        out = self.output(out)
        return out.view(-1)


def calc_gradient_penalty(netD, real_data, fake_data, alpha):
    alpha = alpha.expand(real_data.size())
    interpolates = alpha * real_data + ((1 - alpha) * fake_data)
    interpolates.requires_grad_(True)
    disc_interpolates = netD(interpolates)
    gradients = autograd.grad(
        outputs=disc_interpolates,
        inputs=interpolates,
        grad_outputs=torch.ones(disc_interpolates.size()),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean() * LAMBDA


def build():
    return {"G": Generator(), "D": Discriminator()}


def run(models, steps, device="cpu", batch=24):
    dtype = torch.get_default_dtype()
    netG, netD = models["G"].to(device), models["D"].to(device)
    optimizerD = optim.Adam(netD.parameters(), lr=1e-3, betas=(0.5, 0.9))
    optimizerG = optim.Adam(netG.parameters(), lr=1e-3, betas=(0.5, 0.9))
    rng = np.random.default_rng(9)
    one = torch.tensor(1, dtype=dtype)
    mone = one * -1

    def draw(*shape):
        return torch.tensor(rng.standard_normal(shape), dtype=dtype, device=device)

    def real_images():
        place = rng.integers(0, SIZE - 2, batch)
        images = 0.05 * rng.random((batch, SIZE, SIZE))
        for image, p in zip(images, place):
            image[p : p + 3] += 0.9
        return torch.tensor(images.reshape(batch, -1), dtype=dtype, device=device)

    losses = []
    for _ in range(steps):
        for p in netD.parameters():
            p.requires_grad = True  # reset: they are set to False below, in netG's update
        for _ in range(CRITIC_ITERS):
            real_data = real_images()
            netD.zero_grad()
            D_real = netD(real_data).mean()
            D_real.backward(mone)
            with torch.no_grad():
                noise = draw(batch, 12)
            fake = netG(noise).data
            D_fake = netD(fake).mean()
            D_fake.backward(one)
            alpha = torch.tensor(rng.random((batch, 1)), dtype=dtype)
            gradient_penalty = calc_gradient_penalty(netD, real_data.data, fake.data, alpha)
            gradient_penalty.backward()
            D_cost = D_fake - D_real + gradient_penalty
            Wasserstein_D = D_real - D_fake
            optimizerD.step()
        for p in netD.parameters():
            p.requires_grad = False  # to avoid computation
        netG.zero_grad()
        G = netD(netG(draw(batch, 12))).mean()
        G.backward(mone)
        optimizerG.step()
        losses.append((D_cost.item(), Wasserstein_D.item(), -G.item()))
    return losses, {}
