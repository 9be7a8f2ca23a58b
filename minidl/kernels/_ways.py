"""What the kernel `arithmetic` does: x + y, x - y, x * y, x / y, y - x, y / x. Loads no Numba."""

ADD, SUB, MUL, DIV, SUB_FROM, DIV_INTO = range(6)
