"""A DCGAN (Radford, Metz & Chintala 2015, arXiv:1511.06434) in the manner of PyTorch's example."""

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

nz, ngf, ndf, nc = 16, 8, 8, 1


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),  # (ngf * 4) x 4 x 4
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),  # (ngf * 2) x 8 x 8
            nn.Tanh(),  # nc x 16 x 16
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input).view(-1, 1).squeeze(1)


def make_images(count=128, size=16):
    """Soft discs at different places, from -1 to 1."""
    rng = np.random.default_rng(6)
    y, x = np.mgrid[:size, :size]
    centre = rng.uniform(5, size - 5, (count, 2, 1, 1))
    radius = rng.uniform(2, 5, (count, 1, 1))
    distance = np.sqrt((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2)
    return np.tanh(radius - distance)[:, None]


def build():
    netG, netD = Generator(), Discriminator()
    netG.apply(weights_init)
    netD.apply(weights_init)
    return {"G": netG, "D": netD}


def run(models, steps, device="cpu"):
    dtype = torch.get_default_dtype()
    netG, netD = models["G"].to(device), models["D"].to(device)
    images = torch.from_numpy(make_images()).to(dtype)
    dataloader = DataLoader(TensorDataset(images), batch_size=32, shuffle=False, drop_last=True)
    noise_of = np.random.default_rng(7)

    def new_noise(count):
        noise = noise_of.standard_normal((count, nz, 1, 1))
        return torch.as_tensor(noise, dtype=dtype, device=device)

    criterion = nn.BCELoss()
    fixed_noise = new_noise(16)
    real_label, fake_label = 1.0, 0.0
    optimizerD = optim.Adam(netD.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=2e-4, betas=(0.5, 0.999))
    losses, done = [], 0
    while done < steps:
        for data in dataloader:
            # (1) Update D network: maximize log(D(x)) + log(1 - D(G(z)))
            netD.zero_grad()
            real_cpu = data[0].to(device)
            b_size = real_cpu.size(0)
            label = torch.full((b_size,), real_label, dtype=dtype, device=device)
            output = netD(real_cpu).view(-1)
            errD_real = criterion(output, label)
            errD_real.backward()
            noise = new_noise(b_size)
            fake = netG(noise)
            label.fill_(fake_label)
            output = netD(fake.detach()).view(-1)
            errD_fake = criterion(output, label)
            errD_fake.backward()
            D_G_z1 = output.mean().item()
            assert 0 <= D_G_z1 <= 1
            errD = errD_real + errD_fake
            optimizerD.step()
            # (2) Update G network: maximize log(D(G(z)))
            netG.zero_grad()
            label.fill_(real_label)
            output = netD(fake).view(-1)
            errG = criterion(output, label)
            errG.backward()
            optimizerG.step()
            losses.append((errD.item(), errG.item()))
            done += 1
            if done == steps:
                break
    netG.eval()
    with torch.no_grad():
        fake = netG(fixed_noise).detach().cpu()
    assert fake.shape == (16, nc, 16, 16)
    return losses, {"batches": int(netD.main[3].num_batches_tracked)}
