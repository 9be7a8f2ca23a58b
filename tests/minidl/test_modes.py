"""no_grad and its like: as blocks, decorators of functions and generators, and calls."""

import pytest

import minidl
from minidl import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled


def _name(switch):
    """The same in every process, unlike an object's address."""
    return getattr(switch, "__name__", f"{type(switch).__name__}()")


SWITCHES = [no_grad, no_grad(), inference_mode, inference_mode(), set_grad_enabled]


@pytest.fixture(autouse=True)
def recording():
    yield
    assert is_grad_enabled()


@pytest.mark.parametrize("switch", SWITCHES, ids=_name)
def test_of_a_function(switch):
    if switch is set_grad_enabled:
        switch = set_grad_enabled(False)

    @switch
    def inside(x, *, y=1):
        """Its text."""
        if x:
            return inside(x - 1)
        return is_grad_enabled(), y

    assert inside(2) == (False, 1)
    assert inside(0, y=5) == (False, 5)
    assert inside.__name__ == "inside"
    assert inside.__doc__ == "Its text."
    assert is_grad_enabled()


@pytest.mark.parametrize("switch", [no_grad, no_grad(), inference_mode()], ids=_name)
def test_of_a_generator(switch):
    log = []

    @switch
    def counting():
        try:
            log.append(is_grad_enabled())
            got = yield 1
            log.append((got, is_grad_enabled()))
            try:
                yield 2
            except KeyError:
                log.append(("caught", is_grad_enabled()))
                yield 3
            return "end"
        finally:
            log.append(("done", is_grad_enabled()))

    generator = counting()
    assert next(generator) == 1
    assert is_grad_enabled()  # the mode is the generator's own
    assert generator.send("given") == 2
    assert generator.throw(KeyError()) == 3
    with pytest.raises(StopIteration) as end:
        next(generator)
    assert end.value.value == "end"
    assert log == [False, ("given", False), ("caught", False), ("done", False)]
    log.clear()
    for value in counting():
        assert (value, is_grad_enabled()) == (1, True)
        break
    generator = counting()
    next(generator)
    generator.close()
    assert log[-1] == ("done", False)
    with no_grad():  # made here, run elsewhere
        waiting = enable_grad()(lambda: is_grad_enabled())
        assert waiting()


def test_an_error_leaves_the_mode():
    @no_grad()
    def failing():
        raise KeyError("x")

    with pytest.raises(KeyError):
        failing()
    with pytest.raises(KeyError), no_grad():
        raise KeyError("x")
    assert is_grad_enabled()


def test_set_grad_enabled_acts_at_once():
    minidl.set_grad_enabled(False)
    assert not is_grad_enabled()
    with set_grad_enabled(True):
        assert is_grad_enabled()
    assert not is_grad_enabled()
    set_grad_enabled(True)
    with set_grad_enabled(False):
        assert not minidl.ones(1, requires_grad=True).sum().requires_grad
    assert is_grad_enabled()


def test_nested():
    mode = no_grad()
    with mode:
        with enable_grad():
            assert is_grad_enabled()
            with mode:
                assert not is_grad_enabled()
        assert not is_grad_enabled()
    with inference_mode(False):
        assert is_grad_enabled()
