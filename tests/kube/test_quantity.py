from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.quantity import parse_cores, parse_quantity

SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("100m", 0.1),
        ("0.1", 0.1),
        (".5", 0.5),
        ("1.", 1.0),
        ("+2", 2.0),
        ("0", 0.0),
        ("250000u", 0.25),
        ("500000000n", 0.5),
        ("1e3", 1000.0),
        ("2E-1", 0.2),
        ("1k", 1000.0),
        ("1Ki", 1024.0),
        ("1E", 1e18),
        ("0.0000000001", 1e-9),  # finer than a billionth is rounded up
        ("1n", 1e-9),
        ("64Ei", 2.0**63),  # capped
        ("1e300", 2.0**63),
    ],
)
def test_a_quantity_is_read_as_go_reads_it(text: str, cores: float) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "-", "m", "1 ", " 1", "1mi", "1ki", "1.1.M", "1+1.0M", "0.1am", "2e3m", "1e", "1e+", "-1", "1m\n"),
        *("nan", "inf", "1_000", "0x10", "\u0661", "1" * 65, "1e1000"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|quantity"):
        parse_cores(text)


@given(number=st.decimals(min_value=0, max_value=10**6, places=3), suffix=st.sampled_from(sorted(SUFFIXES)))
def test_a_quantity_is_its_number_times_its_suffix(number: Decimal, suffix: str) -> None:
    exact = Fraction(number) * SUFFIXES[suffix]

    value = parse_quantity(f"{number:f}{suffix}")

    if exact >= 2**63 - 1:
        assert value == 2**63 - 1
    else:
        assert exact <= value < exact + Fraction(1, 10**9)


@given(number=st.integers(min_value=1, max_value=10**6), exponent=st.integers(min_value=-9, max_value=12))
def test_an_exponent_moves_the_point(number: int, exponent: int) -> None:
    assert parse_quantity(f"{number}e{exponent}") == min(Fraction(number) * Fraction(10) ** exponent, 2**63 - 1)


@given(st.text(max_size=80) | st.from_regex(r"[+-]?[0-9.]{0,30}[numkKMGTPEi]{0,2}[eE]?[+-]?[0-9]{0,5}"))
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    try:
        cores = parse_cores(text)
    except ValueError:
        return
    assert 0.0 <= cores <= 2.0**63
