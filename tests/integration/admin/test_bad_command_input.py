"""`trellis` with what can go wrong around it: accounts, old servers, other contracts, files, terminals."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from unittest.mock import patch

import pytest
from orders_participant import ChargePaymentJob, ChargePaymentPayload, ChargePaymentResult, OrdersService
from trellis_admin.commands.choosing import complete_queue
from trellis_nats import JobState, permissions
from trellis_nats.testing import NatsServer, service_under_test

from tests.house.sources import ROOT
from tests.support.depot import Depot, accounts, login
from tests.support.operated import Operated, operated_shop
from tests.support.operating import denying
from tests.support.shop import Parcel, Shop
from tests.support.trellis_command import Ended, run_trellis_here
from tests.support.versions import binary_of

PACKAGE = ROOT / "examples/orders_service/orders_participant"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
PROGRAM = "from trellis_admin.cli import main; main()"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TRELLIS_ACTOR", "ada")


@pytest.fixture
async def operated(nats_server: NatsServer) -> AsyncGenerator[Operated]:
    async with operated_shop(nats_server) as shop:
        yield shop


def is_sentence(ended: Ended) -> bool:
    return ended.error.startswith("trellis: ") and "Traceback" not in ended.error


@pytest.mark.parametrize(
    "arguments",
    [["jobs", "list"], ["dead", "groups"], ["queues"], ["workers"], ["top"], ["tail"]],
    ids=" ".join,
)
async def test_an_account_that_may_not_read_the_jobs_is_told_so(arguments: list[str]) -> None:
    async with NatsServer(config=denying({"guest": ["$JS.API.>"]})) as server:
        login = ["--user", "guest", "--password", "pw"]
        ended = await run_trellis_here(*arguments, "--server", server.url, *login)

    assert ended.code == 3
    assert is_sentence(ended), ended.error


async def test_an_account_that_may_not_store_the_audit_log_changes_nothing() -> None:
    denied = ["trellis.audit.>", "$JS.API.STREAM.CREATE.>"]
    async with NatsServer(config=denying({"guest": denied})) as server:
        login = ["--server", server.url, "--user", "guest", "--password", "pw"]
        options = {"user": "admin", "password": "pw"}
        async with Shop.connect(
            server.url.replace("//", f"//{options['user']}:{options['password']}@")
        ) as shop:
            ref = await shop.jobs.pack.create(Parcel(number=1))
            ended = await run_trellis_here("jobs", "cancel", ref.id, *login)
            state = (await ref.get()).state

    assert ended.code == 3
    assert is_sentence(ended), ended.error
    assert state == "pending"


async def test_a_wrong_password_is_a_sentence() -> None:
    async with NatsServer(config=denying({"guest": []})) as server:
        login = ["--user", "guest", "--password", "wrong"]
        ended = await run_trellis_here("jobs", "list", "--server", server.url, *login)

    assert ended.code == 3
    assert is_sentence(ended), ended.error


async def test_jobs_are_listed_and_replayed_on_a_server_before_fences() -> None:
    async with NatsServer(binary=binary_of("2.10.26")) as server, operated_shop(server) as operated:
        listed = await operated.run("dead", "list", "--ids")
        operated.is_up = True
        replayed = await operated.run("dead", "replay", *operated.dead)
        paused = await operated.run("queues", "pause", "pack")
        resumed = await operated.run("queues", "resume", "pack")

    assert listed.out.split() == operated.dead[::-1]
    assert (replayed.code, paused.code, resumed.code) == (0, 0, 0), replayed.error + paused.error
    assert replayed.out.count("replayed; it was dead") == 2


async def test_another_contract_is_a_sentence(operated: Operated, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text('{"number": 2}')
    options = ["--edit", str(payload)]
    none = await operated.run("dead", "replay", operated.dead[0], *options)
    other = await operated.run("dead", "replay", operated.dead[0], *options, "--contract", str(PACKAGE))
    missing = await operated.run("jobs", "list", "--contract", "no_such_package")

    assert [ended.code for ended in (none, other, missing)] == [2, 2, 2]
    assert all(map(is_sentence, (none, other, missing)))
    assert "the contract" in none.error or "contract of its queue" in none.error


async def test_an_edited_payload_is_replayed_as_a_new_job(nats_server: NatsServer, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text('{"orderId": "o-1", "customerId": "c-42", "amountCents": 2}')
    bad.write_text('{"orderId": "o-1", "customerId": "c-42", "amountCents": "two"}')
    async with service_under_test(OrdersService, url=nats_server.url) as orders:
        orders.service.consumers.shipped_audit.leave_to_others()

        @orders.service.jobs.charge_payment.handle
        async def charge(job: ChargePaymentJob) -> ChargePaymentResult:
            if job.payload.amount_cents == 1:
                raise TimeoutError("the payment gateway did not answer")
            return ChargePaymentResult(charge_id="ch_1")

        queue = orders.service.jobs.charge_payment
        ref = await queue.create(ChargePaymentPayload(order_id="o-1", customer_id="c-42", amount_cents=1))
        await orders.drain()
        command = ["dead", "replay", ref.id, "--server", nats_server.url, "--contract", str(PACKAGE)]
        refused = await run_trellis_here(*command, "--edit", bad)
        many = await run_trellis_here(*command, "another-id", "--edit", good)
        with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(good.read_bytes()))):
            made = await run_trellis_here(*command, "--edit", "-", "--json")
        assert made.code == 0, made.error
        new = await queue.ref(json.loads(made.out)["new"]).wait()
        old = await ref.get()

    assert (refused.code, many.code) == (2, 2)
    assert "amountCents" in refused.error
    assert (new.state, old.state) == (JobState.COMPLETED, JobState.DISMISSED)


async def test_a_file_that_is_not_an_index_is_left_as_it_is(nats_server: NatsServer, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, and longer than a header of one hundred bytes " * 4)
    before = file.read_bytes()
    ended = await run_trellis_here("jobs", "list", "--server", nats_server.url, "--db", str(file))

    assert ended.code == 3
    assert is_sentence(ended), ended.error
    assert file.read_bytes() == before


async def test_ids_that_are_not_ids_change_nothing(operated: Operated) -> None:
    for job in ("*", ">", "a.b.c.d.e", "", "x" * 300, "a b", "trellis.jobs.shop.pack.*"):
        for command in (["jobs", "show"], ["jobs", "cancel"], ["dead", "replay"], ["jobs", "watch"]):
            ended = await operated.run(*command, job)

            assert ended.code in {2, 4}, (command, job, ended)
            assert is_sentence(ended) or "Usage" in ended.error, ended.error


@pytest.mark.parametrize(
    "arguments",
    [["jobs", "list"], ["jobs", "show"], ["dead", "replay"], ["queues", "pause"], ["bulk", "show"]],
    ids=" ".join,
)
async def test_bytes_that_are_not_text_are_refused(operated: Operated, arguments: list[str]) -> None:
    ended = await operated.run(*arguments, "a\udcff")

    assert ended.code in {2, 4}
    assert is_sentence(ended)


async def test_a_damaged_index_is_a_sentence_that_says_what_to_do(operated: Operated, tmp_path: Path) -> None:
    index = tmp_path / "index.sqlite"
    await operated.run("jobs", "list", "--db", str(index))
    whole = index.read_bytes()
    index.write_bytes(whole[:4096] + bytes(range(256)) * ((len(whole) - 4096) // 256))

    ended = await operated.run("jobs", "list", "--db", str(index))

    assert ended.code == 3
    assert is_sentence(ended)
    assert "delete it: it is read again" in ended.error


async def test_texts_of_jobs_cannot_steer_a_terminal(operated: Operated) -> None:
    reason = "\x1b[2Jgone\x07\nsecond line"
    await operated.run("dead", "dismiss", operated.dead[0], "--reason", reason)
    for command in (["audit-log"], ["jobs", "show", operated.dead[0]]):
        ended = await operated.run(*command)

        assert "gone" in ended.out
        assert "\x1b" not in ended.out
        assert "\x07" not in ended.out


def on_terminal(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        cwd=ROOT / "admin",
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", **environment},
        start_new_session=True,
    )
    os.close(theirs)
    written, is_stopped = b"", False
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so at the end
            break
        if not part:
            break
        written += part
        if b"sequence" in written and "top" in arguments and not is_stopped:
            is_stopped = True
            process.send_signal(signal.SIGINT)
    os.close(ours)
    return process.wait(timeout=30), written.decode()


async def test_a_terminal_gets_colours_and_its_width_unless_it_says_no(operated: Operated) -> None:
    command = ["dead", "list", "--server", operated.server.url]
    code, coloured = on_terminal(*command)
    _, plain = on_terminal(*command, NO_COLOR="1")

    assert code == 0, coloured
    assert "\x1b[1;31mdead" in coloured
    assert "\x1b[1;31m" not in plain
    assert operated.dead[0] in plain
    assert max(len(_STYLE.sub("", line)) for line in plain.splitlines()) <= 100


async def test_top_ends_with_ctrl_c_and_leaves_the_screen_as_it_was(operated: Operated) -> None:
    code, written = on_terminal("top", "--server", operated.server.url)

    assert code == 130
    assert "\x1b[?1049h" in written
    assert written.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in written
    assert "Traceback" not in written


def test_completion_knows_queues_and_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_queue("pa") == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nothing"))
    assert complete_queue("pa") == []


async def test_completion_knows_the_queues_of_the_newest_index(operated: Operated) -> None:
    await operated.run("queues")

    assert complete_queue("pa") == ["pack"]
    assert complete_queue("") == ["charge", "pack"]


async def test_a_viewer_reads_everything_and_changes_nothing_and_an_operator_may() -> None:
    users = {
        "root": None,
        "viewer": permissions(Depot, "viewer"),
        "operator": permissions(Depot, "operator"),
    }
    async with (
        NatsServer(config=accounts(users)) as server,
        Depot.connect(server.url, options=login("root")) as depot,
    ):
        ref = await depot.jobs.pack.create(Parcel(number=1))

        async def run(user: str, *arguments: str) -> Ended:
            return await run_trellis_here(
                *arguments, "--server", server.url, "--user", user, "--password", user
            )

        reading = (
            ["jobs", "list"],
            ["jobs", "show", ref.id],
            ["dead", "groups"],
            ["queues"],
            ["workers"],
            ["bulk"],
        )
        read = [
            await run("viewer", *command) for command in (*reading, ["audit-log"], ["keys", "list", "pack"])
        ]
        refused = await run("viewer", "jobs", "cancel", ref.id)
        state = (await ref.get()).state
        cancelled = await run("operator", "jobs", "cancel", ref.id)

    assert [ended.code for ended in read] == [0] * len(read), [ended.error for ended in read]
    assert (refused.code, state) == (3, JobState.PENDING)
    assert "trellis: " in refused.error
    assert cancelled.code == 0, cancelled.error
