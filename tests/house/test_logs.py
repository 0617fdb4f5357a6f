"""Every log record names its event, and docs/reference/logs.md lists the events."""

import ast

from trellis_nats._support.log_events import LogEvent

from tests.house.log_reference import PAGE, log_calls, members, reference_page, sources
from tests.house.sources import ROOT


def test_every_log_call_names_its_event() -> None:
    calls = [
        (path.relative_to(ROOT).as_posix(), call)
        for path in sources()
        for call in log_calls(ast.parse(path.read_text()))
    ]

    assert calls, "no log call was found, so the rule was not checked"
    assert [
        f"{name}:{call.lineno} passes no extra=log_fields(LogEvent.…)"
        for name, call in calls
        if not any(keyword.arg == "extra" for keyword in call.keywords)
    ] == []


def test_every_log_event_is_used_and_has_a_meaning() -> None:
    texts = [path.read_text() for path in sources() if path.name != "log_events.py"]

    assert [
        event.name for event in LogEvent if not any(f"LogEvent.{event.name}" in text for text in texts)
    ] == []
    assert members().keys() == {event.name for event in LogEvent}


def test_the_log_reference_is_fresh() -> None:
    assert PAGE.read_text() == reference_page(), "run make generate"
