"""The memory against replays: one caller cannot fill it, a wrong clock does not, and threads share it."""

from __future__ import annotations

import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import pytest
from trellis_nats import AuthError
from trellis_nats.auth import Admission, Caller, Signer
from trellis_nats.auth.replays import ReplayCache
from trellis_nats.ids import new_id

from tests.support.callers import OTHER, SHOP, KnownKeys

SUBJECT = "rpc.v1.Vault.Read"
CLOCK = "trellis_nats.auth.admission.time"
REPLAYS = "trellis_nats.auth.admission.REPLAYS"


def fill(cache: ReplayCache, session_key: str, *, at: float = 0, until: float = 30) -> int:
    """Return how many requests of a key are remembered until it has no space."""
    number = 0
    while cache.is_new(session_key, str(number), at=at, until=until):
        number += 1
    return number


def test_one_caller_cannot_take_the_space_of_another() -> None:
    cache = ReplayCache(1200)

    assert [fill(cache, f"key {n}") for n in range(4)] == [600, 300, 150, 75]
    assert len(cache) < 1200
    assert not cache.is_new("key 0", "5", at=1, until=31)
    assert cache.is_new("key 0", "new", at=30, until=60)
    assert len(cache) == 1


def test_a_late_expiry_keeps_nothing_longer_than_its_own_time() -> None:
    cache = ReplayCache(1200)
    assert cache.is_new("early", "a", at=0, until=61)
    for n in range(100):
        assert cache.is_new("other", str(n), at=0, until=31)

    assert cache.is_new("other", "b", at=61, until=92)
    assert len(cache) == 1


def test_threads_serve_each_request_once() -> None:
    cache, threads, rounds = ReplayCache(10_000), 4, 2000
    together = Barrier(threads)

    def serve(_: int) -> int:
        together.wait()
        # Each time all threads bring the same request, and forget the older ones.
        return sum(cache.is_new("key", str(n), at=n, until=rounds + n) for n in range(rounds))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            served = list(pool.map(serve, range(threads)))
    finally:
        sys.setswitchinterval(interval)

    assert sum(served) == rounds
    assert len(cache) == rounds


def test_a_caller_cannot_reach_its_share_with_all_that_a_process_can_check() -> None:
    checked_each_second, remembered_seconds = 8000, 32
    cache = ReplayCache()
    space = cache._size_max / 2  # pyright: ignore[reportPrivateUsage] - filling it takes seconds
    assert space > checked_each_second * remembered_seconds


def test_the_memory_is_bounded() -> None:
    cache, keys = ReplayCache(), [f"{n:043d}" for n in range(10)]
    tracemalloc.start()
    try:
        for n in range(4_000):
            assert cache.is_new(keys[n % 10], new_id(), at=0, until=31)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 4_000 < 150


async def admit(admission: Admission, headers: dict[str, str], reply_subject: str = "") -> Caller:
    return await admission.admit(
        headers,
        b"{}",
        subject=SUBJECT,
        reply_subject=reply_subject or f"{SHOP.inbox_prefix}.1",
        capabilities=(),
    )


def signed(at: float) -> dict[str, str]:
    request_id = new_id()
    return {"request-id": request_id, **Signer(SHOP, lambda: at).headers(SUBJECT, b"{}", request_id)}


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> ReplayCache:
    cache = ReplayCache(1000)
    monkeypatch.setattr(REPLAYS, cache)
    return cache


async def test_what_a_wrong_clock_admitted_does_not_stay_for_hours(
    cache: ReplayCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, steady = 1e9, 0.0
    monkeypatch.setattr(CLOCK, SimpleNamespace(time=lambda: wall))
    monkeypatch.setattr("trellis_nats.auth.admission.monotonic", lambda: steady)
    admission = Admission(KnownKeys.of(SHOP))

    wall += 3600  # the clock of the machine is an hour ahead, for its callers too
    await admit(admission, signed(wall))
    wall -= 3600
    steady += 62
    await admit(admission, signed(wall))

    assert len(cache) == 1


async def test_a_clock_that_is_set_back_a_little_forgets_no_request(
    cache: ReplayCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, steady = 1e9, 0.0
    monkeypatch.setattr(CLOCK, SimpleNamespace(time=lambda: wall))
    monkeypatch.setattr("trellis_nats.auth.admission.monotonic", lambda: steady)
    admission = Admission(KnownKeys.of(SHOP))
    captured = signed(wall + 29)
    await admit(admission, captured)

    steady += 35
    wall += 35 - 20

    with pytest.raises(AuthError, match="invalid_signature"):
        await admit(admission, captured)
    assert len(cache) == 1


async def test_a_machine_with_a_slow_clock_forgets_what_the_control_plane_admitted(
    cache: ReplayCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall, steady = 1e9, 0.0
    monkeypatch.setattr(CLOCK, SimpleNamespace(time=lambda: wall))
    monkeypatch.setattr("trellis_nats.auth.admission.monotonic", lambda: steady)
    admission = Admission(KnownKeys.of(SHOP), checks_time=False)  # the authority does

    for _ in range(10):
        await admit(admission, signed(wall + 3600))
        wall += 62
        steady += 62

    assert len(cache) == 1


@pytest.mark.parametrize(
    ("off", "is_admitted"), [(0, True), (29, True), (30, True), (31, False), (-29, True), (-30, True), (-31, False)]
)  # fmt: skip
async def test_thirty_seconds_either_way(
    cache: ReplayCache, monkeypatch: pytest.MonkeyPatch, off: int, *, is_admitted: bool
) -> None:
    monkeypatch.setattr(CLOCK, SimpleNamespace(time=lambda: 1e9))
    admission = Admission(KnownKeys.of(SHOP))
    if is_admitted:
        await admit(admission, signed(1e9 + off))
    else:
        with pytest.raises(AuthError, match="iat_out_of_range") as refused:
            await admit(admission, signed(1e9 + off))
        late = f"{-off} s behind" if off < 0 else f"{off} s ahead"
        assert str(refused.value) == f"Auth failed: iat_out_of_range (the caller's clock is {late})"
        assert refused.value.context == {"callerClockBehindSeconds": -off}
    assert len(cache) == is_admitted


@pytest.mark.parametrize(
    "reply_subject",
    [
        OTHER.inbox_prefix + ".1",
        SHOP.inbox_prefix,
        SHOP.inbox_prefix + "x.1",
        SHOP.inbox_prefix.lower() + ".1",
        "_INBOX.1",
        "reply",
    ],
)
async def test_a_reply_goes_to_the_inbox_of_the_key_only(cache: ReplayCache, reply_subject: str) -> None:
    with pytest.raises(AuthError, match="reply_subject_mismatch"):
        await admit(Admission(KnownKeys.of(SHOP)), signed(time.time()), reply_subject)
