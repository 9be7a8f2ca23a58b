"""einsum against np.einsum, on equations that hypothesis draws, and against torch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from tests.oracles.torch_twin import compare

SIZES = {"i": 2, "j": 3, "k": 1, "l": 4, "m": 2}


@st.composite
def equations(draw):
    """Up to four operands with up to three axes each, letters repeated, dots, output or not."""
    letters = sorted(SIZES)
    terms = draw(st.lists(st.lists(st.sampled_from(letters), max_size=3), min_size=1, max_size=4))
    terms = ["".join(t) for t in terms]
    dots = draw(st.booleans())
    if dots:
        chosen = draw(st.lists(st.integers(0, len(terms) - 1), min_size=1, unique=True))
        for i in chosen:
            place = draw(st.integers(0, len(terms[i])))
            terms[i] = terms[i][:place] + "..." + terms[i][place:]
    used = sorted({c for t in terms for c in t if c != "."})
    equation = ",".join(terms)
    if draw(st.booleans()):
        out = draw(st.permutations(used))[: draw(st.integers(0, len(used)))] if used else []
        equation += "->" + ("..." if dots else "") + "".join(out)
    hidden = [draw(st.integers(0, 2)) if "..." in t else 0 for t in terms]
    return equation, terms, hidden


def _operands(terms, hidden, seed):
    rng = np.random.default_rng(seed)
    wide = (3, 2)
    operands = []
    for term, count in zip(terms, hidden):
        before, _, after = term.partition("...")
        axes = [n if rng.random() < 0.7 else 1 for n in wide[2 - count :]]
        shape = [*(SIZES[c] for c in before), *axes, *(SIZES[c] for c in after)]
        operands.append(rng.standard_normal(shape))
    return operands


@given(equations(), st.integers(0, 1000))
@settings(deadline=None, max_examples=300)
def test_as_numpy(drawn, seed):
    equation, terms, hidden = drawn
    operands = _operands(terms, hidden, seed)
    if "->" in equation and "..." not in equation.split("->")[1] and "..." in equation:
        return
    want = np.einsum(equation, *operands)
    got = minidl.einsum(equation, *[minidl.tensor(x) for x in operands])
    assert got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-9, atol=1e-9)


@given(equations(), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_gradient_is_that_of_a_multilinear_function(drawn, seed):
    """einsum is linear in each operand x, so <gradient, x> = <weight, value>."""
    equation, terms, hidden = drawn
    tensors = [minidl.tensor(x, requires_grad=True) for x in _operands(terms, hidden, seed)]
    out = minidl.einsum(equation, *tensors)
    weight = np.random.default_rng(seed + 1).standard_normal(out.shape)
    total = (out * minidl.tensor(weight)).sum()
    for x, gradient in zip(tensors, minidl.autograd.grad(total, tensors)):
        assert gradient.shape == x.shape
        inner = float((gradient.numpy() * x.detach().numpy()).sum())
        assert inner == pytest.approx(total.item(), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("bij,bjk->bik", ((5, 2, 3), (5, 3, 4))),
        ("bhqd,bhkd->bhqk", ((2, 3, 4, 5), (2, 3, 6, 5))),
        ("ii->i", ((3, 3),)),
        ("ii", ((3, 3),)),
        ("...ij->...ji", ((2, 3, 4),)),
        ("ij,jk,kl", ((2, 3), (3, 4), (4, 5))),
        ("i,j->ij", ((3,), (4,))),
        ("bn,anm,bm->ba", ((2, 3), (4, 3, 5), (2, 5))),
        ("...d,...d->...", ((2, 1, 3), (4, 3))),
    ],
)
def test_as_torch(rng, equation, shapes):
    compare("einsum", equation, *(rng.standard_normal(s) for s in shapes))


def test_a_chain_is_multiplied_in_the_cheap_order(rng):
    """(1000 x 1000 x 1000 x 1): from the right it is two products with a vector."""
    sizes = []
    from minidl.functional import contraction

    def noted(x, y, before=contraction.matmul):
        sizes.append(x.array.size + y.array.size)
        return before(x, y)

    x = minidl.tensor(rng.standard_normal((200, 200)))
    vector = minidl.tensor(rng.standard_normal(200))
    before, contraction.matmul = contraction.matmul, noted
    try:
        minidl.einsum("ij,jk,k->i", x, x, vector)
    finally:
        contraction.matmul = before
    assert sizes == [40_200, 40_200]


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk", ((2, 3),), "2 operands, but 1"),
        ("ijk", ((2, 3),), "does not fit an operand of shape"),
        ("ij,jk", ((2, 3), (4, 5)), "axis 'j' has size 3 in one operand and 4"),
        ("ij->ik", ((2, 3),), "must name axes of the operands"),
        ("ij->ii", ((2, 2),), "once"),
        ("i1->i", ((2, 3),), "letter for each axis"),
    ],
)
def test_errors(equation, shapes, message):
    with pytest.raises(ValueError, match=message):
        minidl.einsum(equation, *(minidl.tensor(np.ones(s)) for s in shapes))
