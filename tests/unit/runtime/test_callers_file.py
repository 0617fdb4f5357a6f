"""The file of callers: what it may have, when it is read again, and what keeps the old callers in force."""

import asyncio
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import AuthError, CallersFile, ConfigurationError, SessionKey
from trellis_nats._support.log_events import LogEvent
from trellis_nats.auth import Admitted, RequestProof, callers_file
from trellis_nats.auth.callers_format import parse_callers
from trellis_nats.testing import LogSignals

SHOP, DESK = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI"), SessionKey.generate()
FORMAT = "trellis.callers.v1"
SEED = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAI"
"""32 bytes that are not the public key of any seed."""


class Clock:
    """Time for the looks at the file."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callers_file, "monotonic", clock)
    return clock


def entry(key: SessionKey, name: str, *capabilities: str, **members: object) -> dict[str, object]:
    return {"key": key.public, "name": name, "capabilities": capabilities, **members}


def text_of(*entries: object) -> str:
    return json.dumps({"format": FORMAT, "callers": entries})


def save(path: Path, *entries: object, mode: int = 0o644) -> Path:
    """Replace a file in one step, as editors and Kubernetes do."""
    new = path.with_suffix(".new")
    new.write_text(text_of(*entries))
    new.chmod(mode)
    return new.replace(path)


async def judge(callers: CallersFile, key: SessionKey, *capabilities: str) -> Admitted:
    return await callers.judge(RequestProof(key.public, "", 0, "", "", b""), capabilities)


async def refusal(callers: CallersFile, key: SessionKey) -> str:
    with pytest.raises(AuthError) as refused:
        await judge(callers, key)
    assert refused.value.context == {"sessionKey": key.public}
    return refused.value.reason


async def test_a_caller_may_do_what_the_file_lists_by_its_exact_name(tmp_path: Path) -> None:
    callers = CallersFile(save(tmp_path / "callers.json", entry(SHOP, "shop", "orders::write", kind="user")))

    admitted = await judge(callers, SHOP, "orders::write")
    assert (admitted.is_allowed, admitted.caller.name, admitted.caller.kind) == (True, "shop", "user")
    assert admitted.inbox_prefix == SHOP.inbox_prefix
    assert (await judge(callers, SHOP)).is_allowed
    for missing in ("orders::writ", "orders::write.all", "orders::*", "service"):
        assert not (await judge(callers, SHOP, "orders::write", missing)).is_allowed
    assert await refusal(callers, DESK) == "session_not_found"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("service", "service_disabled"),
        ("user", "user_inactive"),
        ("device", "device_activation_revoked"),
    ],
)
async def test_a_disabled_key_may_do_nothing(tmp_path: Path, kind: str, reason: str) -> None:
    disabled = entry(SHOP, "shop", kind=kind, disabled=True, comment="left in May")

    assert await refusal(CallersFile(save(tmp_path / "callers.json", disabled)), SHOP) == reason


async def test_a_key_that_is_removed_is_refused_a_second_later(tmp_path: Path, clock: Clock) -> None:
    path = save(tmp_path / "callers.json", entry(SHOP, "shop", "a", "b"))
    callers = CallersFile(path)
    assert (await judge(callers, SHOP, "a", "b")).is_allowed

    save(path, entry(SHOP, "shop", "a"), entry(DESK, "desk"))
    clock.now += 1
    assert not (await judge(callers, SHOP, "a", "b")).is_allowed
    assert (await judge(callers, DESK)).is_allowed

    save(path, entry(DESK, "desk"))
    assert (await judge(callers, SHOP, "a")).is_allowed, "the file is looked at once a second"
    clock.now += 1
    assert await refusal(callers, SHOP) == "session_not_found"


async def test_a_change_that_leaves_size_and_times_alone_is_noticed(tmp_path: Path, clock: Clock) -> None:
    """File systems count time in steps: of two changes in one of them, the second must not go unseen."""
    path = save(tmp_path / "callers.json", entry(SHOP, "shop", "a"))
    callers = CallersFile(path)
    path.write_text(text_of(entry(SHOP, "shop", "b")))
    clock.now += 1

    assert (await judge(callers, SHOP, "b")).is_allowed


async def test_an_unchanged_file_is_not_read(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "callers.json", entry(SHOP, "shop"))
    long_ago = path.stat().st_ctime + 60
    monkeypatch.setattr(callers_file, "time", lambda: long_ago)
    callers = CallersFile(path)
    monkeypatch.setattr(callers_file, "read_callers", None)
    clock.now += 1

    assert (await judge(callers, SHOP)).is_allowed


@pytest.mark.parametrize("fault", ["broken", "missing", "writable", "folder"])
async def test_a_version_that_cannot_be_used_keeps_the_callers(
    tmp_path: Path, clock: Clock, fault: str
) -> None:
    path = save(tmp_path / "callers.json", entry(SHOP, "shop"))
    callers = CallersFile(path)
    match fault:
        case "broken":
            save(path, {"key": DESK.public})
        case "writable":
            save(path, entry(DESK, "desk"), mode=0o666)
        case _:
            path.unlink()
            if fault == "folder":
                path.mkdir()
    with LogSignals() as signals:
        for _ in range(3):
            clock.now += 1
            assert (await judge(callers, SHOP)).is_allowed
            assert await refusal(callers, DESK) == "session_not_found"
        kept = signals.of(LogEvent.CALLERS_KEPT)
        assert [record.levelname for record in kept] == ["ERROR"]
        assert "the callers stay as they were" in kept[0].getMessage()
        with pytest.raises(ConfigurationError, match="the callers stay as they were"):
            await callers.check()

        if fault == "folder":
            path.rmdir()
        save(path, entry(DESK, "desk"))
        clock.now += 1
        assert await callers.check() == "keys: 1, disabled: 0"
        assert [record.levelname for record in signals.of(LogEvent.CALLERS_RELOADED)] == ["INFO"]
    assert (await judge(callers, DESK)).is_allowed


def test_threads_share_one_object_while_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_file, "_LOOK_EVERY", 0)
    path = save(tmp_path / "callers.json", entry(SHOP, "shop", "a", "b"))
    callers, changes = CallersFile(path), 20

    async def judge_often() -> set[frozenset[str]]:
        seen = set[frozenset[str]]()
        while not has_ended.is_set():
            seen.add((await judge(callers, SHOP)).caller.capabilities)
        return seen

    has_ended = threading.Event()
    with ThreadPoolExecutor(3) as threads:
        judging = [threads.submit(lambda: asyncio.run(judge_often())) for _ in range(3)]
        for at in range(changes):
            save(path, entry(SHOP, "shop", *("ab" if at % 2 else "cd")), entry(DESK, f"desk {at}"))
        has_ended.set()
        seen = set[frozenset[str]]().union(*(future.result() for future in judging))
    assert seen <= {frozenset("ab"), frozenset("cd")}
    assert asyncio.run(judge(callers, DESK)).caller.name == f"desk {changes - 1}"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = save(tmp_path / "callers.json", mode=mode)

    with pytest.raises(ConfigurationError, match=f"chmod go-w {path}"):
        CallersFile(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "callers.json")
    os.chown(path, 1001, 1001)

    with pytest.raises(ConfigurationError, match="belongs to user 1001"):
        CallersFile(path)


def parse(text: str | bytes) -> None:
    parse_callers(text.encode() if isinstance(text, str) else text, where="callers.json")


def error_of(text: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    return str(refused.value)


def test_all_errors_are_listed_at_once() -> None:
    wrong: list[object] = [
        {"key": SHOP.public, "name": "", "kind": "robot"},
        {"key": SHOP.public, "name": "shop", "capabilities": ["orders::*", "orders write", 1]},
        {"key": "short", "name": "shop", "capabilites": []},
        {"name": "shop", "disabled": "no"},
        5,
    ]
    error = error_of(text_of(*wrong))

    for place in (
        "#/callers/0/name",
        "#/callers/0/kind",
        "#/callers/1/capabilities/0: there are no wildcards",
        "#/callers/1/capabilities/1: a capability is a name",
        "#/callers/1/capabilities/2",
        "#/callers/1/key: the same key as #/callers/0",
        "#/callers/2/key: a public key is 43 characters",
        "#/callers/2/capabilites: Extra inputs",
        "#/callers/3/key: Field required",
        "#/callers/3/disabled",
        "#/callers/4",
    ):
        assert place in error


def test_a_seed_in_place_of_a_public_key_is_not_shown() -> None:
    error = error_of(text_of({"key": SEED, "name": "shop"}))

    assert "if it is the seed of one, others may have read the secret here: replace that key" in error
    assert SEED not in error


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"\xff{}", "is not text in UTF-8"),
        ("{", "is not valid JSON"),
        ("[]", "has errors: #: "),
        ('{"callers": []}', "#/format: Field required"),
        (f'{{"format": "{FORMAT}", "callers": {{}}}}', "#/callers: Input should be a valid list"),
        (f'{{"format": "{FORMAT}", "callers": [], "callers": []}}', 'a member "callers" occurs twice'),
        ("[" * 200_000, "is nested too deeply"),
        ('{"a":' * 200_000, "is nested too deeply"),
        ("1" * 5000, "is not valid JSON"),
    ],
)
def test_a_file_of_something_else_is_refused(text: str | bytes, problem: str) -> None:
    assert problem in error_of(text)


def test_10_000_keys_are_the_most(tmp_path: Path) -> None:
    entries = [{"key": f"{at:043d}", "name": "x"} for at in range(10_001)]
    assert "#/callers: List should have at most 10000 items" in error_of(text_of(*entries))

    path = tmp_path / "callers.json"
    path.write_bytes(b" " * (8 * 1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="more than 8388608 bytes"):
        CallersFile(path)


NOT_CALLERS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(SEED),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "name", "kind", "capabilities", "disabled", SEED]), inner)
    ),
    max_leaves=8,
)


@given(NOT_CALLERS.filter(lambda value: value != []))
def test_whatever_a_file_has_is_an_error_without_a_secret(value: object) -> None:
    for text in (json.dumps(value), text_of(value), json.dumps({"format": FORMAT, "callers": value})):
        assert SEED not in error_of(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_error_of_the_configuration(data: bytes) -> None:
    error_of(data)
