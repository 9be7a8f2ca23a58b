"""A residual network for small images (He et al. 2015, arXiv:1512.03385, section 4.2)."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init
from torch.utils.data import DataLoader, TensorDataset


def _weights_init(m):
    if isinstance(m, nn.Linear) or isinstance(m, nn.Conv2d):  # noqa: SIM101
        init.kaiming_normal_(m.weight)


class LambdaLayer(nn.Module):
    def __init__(self, lambd):
        super().__init__()
        self.lambd = lambd

    def forward(self, x):
        return self.lambd(x)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1, option="A"):
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            if option == "A":
                self.shortcut = LambdaLayer(
                    lambda x: F.pad(
                        x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0
                    )
                )
            else:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False),
                    nn.BatchNorm2d(planes),
                )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=5, width=8):
        super().__init__()
        self.in_planes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._make_layer(block, width, num_blocks[0], 1, "A")
        self.layer2 = self._make_layer(block, 2 * width, num_blocks[1], 2, "A")
        self.layer3 = self._make_layer(block, 4 * width, num_blocks[2], 2, "B")
        self.linear = nn.Linear(4 * width, num_classes)
        self.apply(_weights_init)

    def _make_layer(self, block, planes, num_blocks, stride, option):
        strides = [stride] + [1] * (num_blocks - 1)
        layers = []
        for stride in strides:
            layers.append(block(self.in_planes, planes, stride, option))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer1(out)
        out = self.layer2(out)
        out = self.layer3(out)
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


def accuracy(output, target, topk=(1,)):
    maxk = max(topk)
    batch_size = target.size(0)
    _, pred = output.topk(maxk, 1, True, True)
    pred = pred.t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    res = []
    for k in topk:
        correct_k = correct[:k].reshape(-1).float().sum(0, keepdim=True)
        res.append(correct_k.mul_(100.0 / batch_size))
    return res


def make_images(count=160, classes=5, size=12):
    """Stripes whose direction and colour tell the class, under noise."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, classes, count)
    y, x = np.mgrid[:size, :size]
    angle = labels[:, None, None] * np.pi / classes
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 1.2)
    colour = np.stack([labels == c for c in range(3)], 1)[:, :, None, None] * 0.5
    images = wave[:, None] + colour + 0.5 * rng.standard_normal((count, 3, size, size))
    return images, labels


def build():
    return {"net": ResNet(BasicBlock, [1, 1, 1])}


def run(models, steps, device="cpu"):
    dtype = torch.get_default_dtype()
    model = models["net"].to(device)
    images, labels = make_images()
    data = TensorDataset(torch.from_numpy(images).to(dtype), torch.from_numpy(labels))
    train_loader = DataLoader(data, batch_size=32, shuffle=False)
    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4)
    lr_scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[4, 7])
    losses, done = [], 0
    while done < steps:
        model.train()
        for input, target in train_loader:
            input, target = input.to(device), target.to(device)
            output = model(input)
            loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            output = output.float()
            prec1, prec3 = accuracy(output.data, target, topk=(1, 3))
            assert prec1.item() <= prec3.item()
            losses.append(loss.item())
            done += 1
            if done == steps:
                break
        lr_scheduler.step()
    model.eval()
    with torch.no_grad():
        output = model(data.tensors[0])
        losses.append(criterion(output, data.tensors[1]).item())
    return losses, {"lr": [group["lr"] for group in optimizer.param_groups]}
