"""The time of a control plane, by which a machine with a wrong clock signs and checks."""

from __future__ import annotations

import time

import pytest
from trellis_nats.control_plane.clock import PlatformClock


def test_a_corrected_clock_does_not_jump_with_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = PlatformClock()
    clock.set(int(time.time()) + 1000)
    before = clock.now()

    monkeypatch.setattr(time, "time", lambda: 5.0)

    assert 0 <= clock.now() - before < 60


def test_a_clock_that_is_right_again_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = PlatformClock()
    clock.set(int(time.time()) + 1000)
    clock.set(int(time.time()))

    monkeypatch.setattr(time, "time", lambda: 5.0)

    assert clock.now() == 5.0
