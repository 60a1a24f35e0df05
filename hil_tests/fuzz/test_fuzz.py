"""Every target with its seeds and with inputs that Hypothesis makes; the same ones each time.

Coverage-guided fuzzing is ``python -m hil_tests.fuzz``.
"""

import logging
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hil_tests.fuzz.target import Target
from hil_tests.fuzz.targets import TARGETS

_MUTANTS_EACH = 3

every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Odd input is logged a lot."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@every_target
def test_any_bytes_are_read_or_refused(target: Target) -> None:
    seeds = list(target.seeds())
    mutants = st.builds(_mutate, st.sampled_from(seeds), st.randoms(use_true_random=False))

    @settings(
        max_examples=target.examples, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.one_of(st.binary(max_size=target.max_bytes // 8), mutants))
    def check(data: bytes) -> None:
        target.fuzz_one(data)

    check()


@every_target
def test_seeds_and_their_mutants_are_read_or_refused(target: Target) -> None:
    chance = random.Random(target.name)
    for seed in target.seeds():
        target.fuzz_one(seed)
        for _ in range(_MUTANTS_EACH):
            target.fuzz_one(_mutate(seed, chance))


def _mutate(seed: bytes, chance: random.Random) -> bytes:
    """Change, remove, insert or repeat something at a few places."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        size = chance.choice((1, 1, 2, 4, 16))
        match chance.randrange(4):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = bytes(
                    chance.choice((0, 0x7F, 0xFF, chance.randrange(256))) for _ in range(size)
                )
            case _:
                data[at:at] = data[at : at + size]
    return bytes(data)
