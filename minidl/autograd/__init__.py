"""Gradients: what to record, how to ask for them, how to check them, and ops of your own.

    grad, backward                     gradients of tensors in tensors
    functional                         jacobian, hessian, vjp, jvp, vhp, hvp of functions
    no_grad, enable_grad, ...          what is recorded, as context manager or decorator
    Function                           an op with a hand-written backward
    detect_anomaly, set_detect_anomaly find the op that made a NaN
    gradcheck, gradgradcheck           compare with finite differences
"""

from minidl._walk import backward, grad
from minidl.autograd import functional
from minidl.autograd.check import gradcheck, gradgradcheck
from minidl.autograd.function import Function
from minidl.autograd.modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
]
