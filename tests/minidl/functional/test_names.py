"""The names of functions and those of the files they stand in do not hide one another."""

import pkgutil

import minidl.functional
import minidl.nn.functional as F


def test_no_file_of_nn_functions_has_a_function_s_name():
    for family in minidl.functional.NN_FAMILIES:
        assert not hasattr(F, family) or not callable(getattr(F, family)), family


def test_every_name_of_a_family_is_a_function_here_too():
    for module in pkgutil.iter_modules(minidl.functional.__path__):
        __import__(f"minidl.functional.{module.name}")
    for name in (*minidl.functional.__all__, "dropout", "softmax", "linear", "conv2d", "mse_loss"):
        assert callable(getattr(minidl.functional, name)), name
