"""Convolutions over words (Kim 2014, arXiv:1408.5882): the class of a generated sentence."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler


class TextCNN(nn.Module):
    def __init__(self, vocab, dim=16, classes=3, kernels=16, sizes=(3, 4, 5), dropout=0.5):
        super(TextCNN, self).__init__()  # noqa: UP008  (as it was written in 2018)
        self.embed = nn.Embedding(vocab, dim, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv2d(1, kernels, (K, dim)) for K in sizes])
        self.dropout = nn.Dropout(dropout)
        self.fc1 = nn.Linear(len(sizes) * kernels, classes)
        nn.init.xavier_uniform_(self.fc1.weight)
        nn.init.constant_(self.fc1.bias, 0.0)

    def forward(self, x):
        x = self.embed(x)  # (N, W, D)
        x = x.unsqueeze(1)  # (N, 1, W, D)
        x = [F.relu(conv(x)).squeeze(3) for conv in self.convs]  # [(N, Co, W)] * len(sizes)
        x = [F.max_pool1d(i, i.size(2)).squeeze(2) for i in x]  # [(N, Co)] * len(sizes)
        x = torch.cat(x, 1)
        x = self.dropout(x)
        return self.fc1(x)


class Sentences(Dataset):
    """Each class has words of its own among common ones; sentences differ in length."""

    def __init__(self, count=256, vocab=60, classes=3, seed=3):
        rng = np.random.default_rng(seed)
        self.labels = torch.from_numpy(rng.integers(0, classes, count))
        self.texts = []
        for label in self.labels.tolist():
            words = rng.integers(1 + 3 * classes, vocab, int(rng.integers(6, 15)))
            place = int(rng.integers(0, len(words) - 2))
            words[place : place + 2] = 1 + 3 * label + rng.integers(0, 3, 2)
            self.texts.append(torch.from_numpy(words))

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, idx):
        return self.texts[idx], self.labels[idx]


class Shuffled(Sampler):
    """A new order each epoch, the same under every library."""

    def __init__(self, data_source, seed=4):
        self.data_source = data_source
        self.rng = np.random.default_rng(seed)

    def __iter__(self):
        return iter(self.rng.permutation(len(self.data_source)).tolist())

    def __len__(self):
        return len(self.data_source)


def collate(batch):
    texts, labels = zip(*batch)
    return pad_sequence(texts, batch_first=True), torch.stack(labels)


def limit_norms(weight, largest=3.0):
    """Kim's constraint: no row of the last layer is longer than `largest`."""
    with torch.no_grad():
        norm = weight.norm(2, dim=1, keepdim=True).clamp(min=1e-12)
        weight.mul_(torch.clamp(norm, max=largest) / norm)


def build():
    return {"cnn": TextCNN(60)}


def run(models, steps, device="cpu"):
    model = models["cnn"].to(device)
    data = Sentences()
    loader = DataLoader(data, batch_size=32, sampler=Shuffled(data), collate_fn=collate)
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95)
    losses, done = [], 0
    model.train()
    while done < steps:
        for feature, target in loader:
            feature, target = feature.to(device), target.to(device)
            optimizer.zero_grad()
            logit = model(feature)
            loss = F.cross_entropy(logit, target)
            loss.backward()
            optimizer.step()
            limit_norms(model.fc1.weight)
            losses.append(loss.item())
            done += 1
            if done == steps:
                break
    model.eval()
    corrects = 0
    with torch.no_grad():
        for feature, target in DataLoader(data, batch_size=50, collate_fn=collate):
            logit = model(feature)
            corrects += (torch.max(logit, 1)[1].view(target.size()).data == target.data).sum()
    return losses, {"correct": int(corrects)}
