"""Bad input on every surface: a typed error, a line in the log, and the honest messages go on.

A new surface joins with a line in `tests.support.bad_targets.TARGETS`. The long version is tests/faults/test_bad_input.py.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import islice

import pytest
from trellis_nats.testing import NatsServer

from tests.support.bad_input import bad_messages, random_messages
from tests.support.bad_targets import TARGETS, TargetFactory
from tests.support.bombard import bombard

EVERY = pytest.mark.parametrize("factory", TARGETS.values(), ids=list(TARGETS))
RANDOM = 500
FLOOD = 3_000
LARGE = 40
GROWTH_BYTES_MAX = 100 * 1024 * 1024


@EVERY
async def test_each_bad_message_is_answered_or_logged_and_honest_ones_go_on(
    nats_server: NatsServer, factory: TargetFactory
) -> None:
    outcome = await bombard(nats_server, factory, lambda target: bad_messages(target.body))

    assert outcome.lines, "nothing was logged"
    assert set(outcome.errors) <= {"UnexpectedError", "ValidationError"}


@EVERY
async def test_random_messages(nats_server: NatsServer, factory: TargetFactory) -> None:
    await bombard(
        nats_server,
        factory,
        lambda target: islice(random_messages(15, target.body), RANDOM // target.effort),
    )


@EVERY
async def test_a_flood_of_bad_messages_does_not_flood_the_log(
    nats_server: NatsServer, factory: TargetFactory
) -> None:
    await bombard(
        nats_server,
        factory,
        lambda target: list(islice(random_messages(16, target.body), 100)) * (FLOOD // target.effort // 100),
    )


@pytest.mark.parametrize("name", TARGETS)
async def test_megabytes_do_not_pile_up_in_memory(name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.bad_input_process",
        name,
        str(LARGE),
        stdout=asyncio.subprocess.PIPE,
    )
    written, _ = await process.communicate()
    few, many = (int(line) for line in written.split())

    assert process.returncode == 0
    assert many - few < GROWTH_BYTES_MAX
