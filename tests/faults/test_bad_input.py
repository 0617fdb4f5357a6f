"""Bad input on every surface, for long: BAD_INPUT says how many random messages each gets, BAD_INPUT_SEED which ones."""

from __future__ import annotations

import os
from itertools import islice
from typing import Final

import pytest
from trellis_nats.testing import NatsServer

from tests.support.bad_input import random_messages
from tests.support.bad_input_process import measure_growth
from tests.support.bad_targets import TARGETS
from tests.support.bombard import bombard

NUMBER: Final = int(os.environ.get("BAD_INPUT", "50000"))
SEED: Final = int(os.environ.get("BAD_INPUT_SEED", "1"))


@pytest.mark.parametrize("name", TARGETS)
async def test_random_messages(nats_server: NatsServer, name: str) -> None:
    outcome = await bombard(
        nats_server,
        TARGETS[name],
        lambda target: islice(random_messages(SEED, target.body), NUMBER // target.effort),
    )

    print(f"\n{name}, seed {SEED}: {outcome}")  # noqa: T201 - the counts are the result


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - {"store"}))  # a store keeps them, and lists them all
async def test_megabytes_do_not_pile_up_in_memory(name: str) -> None:
    assert await measure_growth(name, 40) < 100 * 1024 * 1024
