"""What commands print with: times, tables, JSON and questions."""

from __future__ import annotations

import io
import sys
from datetime import UTC, datetime, timedelta

import pytest
from trellis_admin.queries import Count, KeyRow
from trellis_admin.terminal import (
    Column,
    Declined,
    Table,
    confirm_count,
    show_age,
    show_instant,
    show_length,
    show_past,
    to_plain,
    to_wire,
)
from trellis_admin.terminal.output import print_text
from trellis_admin.terminal.tables import fit
from trellis_admin.texts.history import show_json_text, show_progress
from trellis_nats.jobs.model.event import JobProgress

AT = datetime(2026, 11, 30, 12, 0, 0, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(milliseconds=820), "0.82 s"),
        (timedelta(seconds=30), "30.0 s"),
        (timedelta(minutes=6, seconds=6), "6 m 06 s"),
        (timedelta(hours=2, minutes=4), "2 h 04 m"),
        (timedelta(days=3, hours=1), "3 d 01 h"),
        (timedelta(minutes=59, seconds=59.7), "1 h 00 m"),
    ],
)
def test_a_length_of_time_has_two_units(length: timedelta, text: str) -> None:
    assert show_length(length) == text


def test_ages_are_rough_and_instants_exact() -> None:
    assert show_age(AT - timedelta(minutes=90), AT) == "1 h ago"
    assert show_age(AT + timedelta(seconds=90), AT) == "in 1 m"
    assert show_age(None, AT) == "-"
    assert show_past(AT - timedelta(minutes=90), AT) == "1 h ago"
    assert show_past(AT + timedelta(minutes=61), AT) == "just now, by a clock that is 1 h ahead"
    assert show_instant(AT) == "2026-11-30 12:00:00.123"


def table() -> Table:
    made = Table(
        (Column("id"), Column("n", "right"), Column("key", is_minor=True), Column("error", is_wide=True))
    )
    made.add("a1", 5, "-", "no answer\nsecond line")
    made.add("b\x1b[2Jc", 12, "k-1", "x" * 40)
    return made


def test_a_plain_table_has_all_of_every_cell_without_control_characters() -> None:
    assert to_plain(table()) == (
        f"id       n  key  error\na1       5  -    no answer\nb [2Jc  12  k-1  {'x' * 40}"
    )


def test_a_narrow_terminal_shortens_the_wide_column_and_leaves_out_minor_ones() -> None:
    wide, widths = fit(table(), 80)
    assert ([column.title for column in wide.columns], widths) == (["id", "n", "key", "error"], [6, 2, 3, 40])
    _, widths = fit(table(), 40)
    assert widths == [6, 2, 3, 23]
    assert sum(widths) + 2 * 3 == 40
    narrow, widths = fit(table(), 26)
    assert ([column.title for column in narrow.columns], widths) == (["id", "n", "error"], [6, 2, 14])


def places(*queues: str) -> Table:
    table = Table(
        (Column("id"), Column("queue", is_place=True), Column("state"), Column("error", is_wide=True))
    )
    for queue in queues:
        table.add("01M8NJ86D0XH1GRNWHCDEF9A5Q", queue, "dead", "GatewayTimeout: the gateway did not answer")
    return table


def test_a_narrow_terminal_keeps_ids_and_the_names_of_queues() -> None:
    shown, widths = fit(places("orders-service/charge-payment", "orders-service/notify-warehouse"), 80)
    assert [row[:2] for row in shown.rows] == [
        ("01M8NJ86D0XH1GRNWHCDEF9A5Q", "charge-payment"),
        ("01M8NJ86D0XH1GRNWHCDEF9A5Q", "notify-warehouse"),
    ]
    assert (widths, sum(widths) + 2 * 3) == ([26, 16, 5, 27], 80)

    shown, widths = fit(places("orders-service/charge-payment", "shop/pack"), 80)
    assert [row[1] for row in shown.rows] == ["orders-service/charge-payment", "shop/pack"]
    shown, widths = fit(places("orders-service/charge-payment", "shop/pack"), 70)
    assert [row[1] for row in shown.rows] == ["…service/charge-payment", "shop/pack"]
    assert (widths, sum(widths) + 2 * 3) == ([26, 23, 5, 10], 70)


def test_the_widest_of_several_wide_columns_is_shortened_first() -> None:
    table = Table(
        (Column("target", is_wide=True), Column("reason", is_wide=True), Column("outcome", is_wide=True))
    )
    table.add("t" * 60, "r" * 20, "done")
    assert fit(table, 60)[1] == [29, 20, 7]
    assert fit(table, 40)[1] == [14, 15, 7]


def test_json_has_camel_case_utc_milliseconds_and_exact_integers() -> None:
    row = KeyRow(service="s", queue="q", prefix="p", key="k", key_hash="h", waiting=1, running=0, oldest=AT)

    assert to_wire(row) == {
        "service": "s",
        "queue": "q",
        "prefix": "p",
        "key": "k",
        "keyHash": "h",
        "waiting": 1,
        "running": 0,
        "oldest": "2026-11-30T12:00:00.123Z",
    }
    assert to_wire(Count(3)) == {"number": 3, "isExact": True}
    assert to_wire({"a": timedelta(seconds=1.5), "b": b'{"n": 90071992547409931}', "c": b"\xff"}) == {
        "a": 1500,
        "b": '{"n": 90071992547409931}',
        "c": "/w==",
    }


def test_a_payload_is_indented_with_every_number_as_it_is_written() -> None:
    stored = b'{"n":90071992547409931,"f":1.10,"e":1e400,"s":"\\u001b[2J","l":[1,{}],"t":true}'

    assert show_json_text(stored) == (
        "{\n"
        '  "n": 90071992547409931,\n'
        '  "f": 1.10,\n'
        '  "e": 1e400,\n'
        '  "s": "\\u001b[2J",\n'
        '  "l": [\n'
        "    1,\n"
        "    {}\n"
        "  ],\n"
        '  "t": true\n'
        "}"
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "is_confirmed"), [("2914", True), ("2,914", True), ("2194", False), ("", False), ("y", False)]
)
def test_many_jobs_are_confirmed_with_their_count(
    monkeypatch: pytest.MonkeyPatch, typed: str, is_confirmed: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(f"{typed}\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    if is_confirmed:
        confirm_count("2,914 jobs will be replayed.", 2914, is_agreed=False)
        return
    with pytest.raises(Declined, match="it is 2,914 jobs"):
        confirm_count("2,914 jobs will be replayed.", 2914, is_agreed=False)


def test_no_question_is_asked_without_a_terminal_or_with_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("5\n"))
    confirm_count("5 jobs", 5, is_agreed=True)
    with pytest.raises(Declined, match="pass --yes"):
        confirm_count("5 jobs", 5, is_agreed=False)


def test_nothing_of_a_job_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("bulk \x1b]0;title\x07\x9b31m\r\u202e\ud800\n\tnext line")

    assert capsys.readouterr().out == "bulk  ]0;title  31m   \n\tnext line\n"


@pytest.mark.parametrize(("current", "total"), [(10**400, 5), (5, 10**400), (1e308, 1e-300), (10**400, None)])
def test_a_progress_of_any_size_is_shown(current: float, total: float | None) -> None:
    assert show_progress(JobProgress(message="copies", current=current, total=total)).startswith("copies")
