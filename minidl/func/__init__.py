"""Transformations of functions, with the names of torch.func.

    grad, grad_and_value        of a scalar function
    vjp, jvp                    v^T J and J v
    linearize                   J v for many v at one point
    jacrev, jacfwd              J, by rows and by columns
    hessian, hvp                second derivatives, and H v without H
    vmap                        a function over an axis, element by element
    functional_call             a module as a function of its parameters
    stack_module_state          the parameters of several modules as one

They nest: hessian(f) is jacrev(jacrev(f)). Arguments may be nested tuples, lists and dicts of
Tensors. A transformation leaves every .grad alone; its results hang on the tape only if something
outside of it (an outer transformation, a parameter in the function's closure) requires a gradient.

    from minidl.func import functional_call, grad, vmap

    def loss(parameters, x, y):
        return F.mse_loss(functional_call(model, parameters, (x,)), y)

    per_sample = vmap(grad(loss), in_dims=(None, 0, 0))(dict(model.named_parameters()), x, y)
"""

from minidl.func.mapping import vmap
from minidl.func.modules import functional_call, stack_module_state
from minidl.func.transforms import (
    grad,
    grad_and_value,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)

__all__ = [
    "functional_call", "grad", "grad_and_value", "hessian", "hvp", "jacfwd", "jacrev", "jvp",
    "linearize", "stack_module_state", "vjp", "vmap",
]  # fmt: skip
