"""Services that share an event loop share its signals."""

import signal

from trellis_nats._support.signals import StopSignals, end_process_on_signal


async def test_one_signal_stops_all_services_of_an_event_loop() -> None:
    before = signal.getsignal(signal.SIGTERM)
    one, other, late = (StopSignals(lambda: None) for _ in range(3))
    with end_process_on_signal():  # one of them still connects
        other.install()
    one.install()

    signal.raise_signal(signal.SIGTERM)
    await one.requested.wait()
    await other.requested.wait()

    late.install()
    assert late.requested.is_set()
    for installed in (one, late, other):
        installed.remove()
    assert signal.getsignal(signal.SIGTERM) == before


async def test_a_service_that_ends_leaves_the_signals_to_the_others() -> None:
    one, other = (StopSignals(lambda: None) for _ in range(2))
    one.install()
    other.install()
    one.end()

    signal.raise_signal(signal.SIGTERM)
    await other.requested.wait()
    other.remove()

    assert not one.requested.is_set()
