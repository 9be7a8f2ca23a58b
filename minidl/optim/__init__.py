"""Optimizers and learning-rate schedules, with PyTorch's names, arguments and state_dict form."""

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
from minidl.optim.rmsprop import RMSprop
from minidl.optim.sgd import SGD
from minidl.optim.sign import Lion, Rprop

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion",
    "Muon", "NAdam", "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam", "decay_groups",
    "lr_scheduler", "swa_utils",
]  # fmt: skip
