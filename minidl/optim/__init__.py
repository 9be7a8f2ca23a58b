"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and state_dict form.

    optimizer = optim.AdamW(optim.decay_groups(model, weight_decay=0.1), lr=3e-4)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-4, total_steps=1000)

Gradients add up until zero_grad(), so a large batch may come in parts (gradient accumulation); a
mean over the batch is the mean of the parts' means:

    for i, batch in enumerate(loader):
        (loss(model, batch) / parts).backward()
        if (i + 1) % parts == 0:
            optimizer.step(); optimizer.zero_grad(); schedule.step()

Settings by parameter: groups, see `Optimizer` and `decay_groups`. Averages of weights: `swa_utils`.
"""

from minidl.optim import lr_scheduler, swa_utils
from minidl.optim.adadelta import Adadelta
from minidl.optim.adagrad import Adagrad
from minidl.optim.adam import Adam, AdamW, SparseAdam
from minidl.optim.adam_variants import Adamax, NAdam, RAdam
from minidl.optim.asgd import ASGD
from minidl.optim.factored import Adafactor, Muon
from minidl.optim.groups import decay_groups
from minidl.optim.lbfgs import LBFGS
from minidl.optim.optimizer import Optimizer
from minidl.optim.ranking import BPRSGD
from minidl.optim.rmsprop import RMSprop
from minidl.optim.sgd import SGD
from minidl.optim.sign import Lion, Rprop

__all__ = [
    "ASGD", "BPRSGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW",
    "Adamax", "Lion", "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam",
    "decay_groups", "lr_scheduler", "swa_utils",
]  # fmt: skip
