"""What the fuzzer found worth keeping, replayed without it: every parser still raises nothing but ours."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.fuzz import CORPUS
from tests.fuzz.targets import TARGETS

MOST_BYTES = 200_000
MUTATIONS = 20
"""Of each kept input."""


def kept(target: str) -> list[Path]:
    return sorted((CORPUS / target).iterdir())


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A byte changed, a piece doubled, taken out, or cut off at the end."""
    if not data:
        return bytes([chance.randrange(256)])
    low, high = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    match chance.randrange(4):
        case 0:
            return data[:low] + bytes([chance.randrange(256)]) + data[low + 1 :]
        case 1:
            return data[:high] + data[low:high] + data[high:]
        case 2:
            return data[:low] + data[high:]
        case _:
            return data[:low]


@pytest.mark.parametrize("target", TARGETS)
def test_kept_input_raises_nothing_but_ours(target: str) -> None:
    files = kept(target)
    assert any(file.name.startswith("hand-") for file in files), "each begins with what is right"
    for file in files:
        TARGETS[target](file.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_nor_does_input_like_it(target: str) -> None:
    chance = random.Random(target)
    for file in kept(target):
        data = file.read_bytes()
        for _ in range(MUTATIONS):
            TARGETS[target](mutated(data, chance))


def test_there_is_a_corpus_for_every_target_and_no_other_and_it_is_small() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert sum(file.stat().st_size for folder in CORPUS.iterdir() for file in folder.iterdir()) < MOST_BYTES
