"""Learning-rate schedules, with torch.optim.lr_scheduler's names and values.

    schedule = lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for epoch in range(100):
        ...optimizer.step()...
        schedule.step()

A warm-up is a LinearLR, followed by what comes after it:

    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=500)
    rest = lr_scheduler.CosineAnnealingLR(optimizer, T_max=9_500)
    schedule = lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[500])

Each value follows from the one before (torch's chained form), so several schedules on one optimizer
multiply. t below is the number of the step, 0 when the schedule is made.
"""

from minidl.optim.lr_scheduler.base import LRScheduler
from minidl.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from minidl.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from minidl.optim.lr_scheduler.cyclic import CyclicLR, OneCycleLR
from minidl.optim.lr_scheduler.decay import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from minidl.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
