"""A history made by hand, with what the server would have stored."""

from __future__ import annotations

from pydantic import JsonValue

from tests.faults.harness.checker import check
from tests.faults.harness.dump import Dump, Record
from tests.faults.harness.history import Entry, What

HERE, THERE = 1, 2


class Story:
    """A scenario, told step by step; each step is a microsecond after the one before."""

    def __init__(self) -> None:
        self.history: list[Entry] = []
        self.records: list[Record] = []

    def say(self, what: What, job: str = "", pid: int = HERE, **facts: JsonValue) -> None:
        self.history.append(Entry(len(self.history) * 1000, pid, what, job, facts))

    def store(self, job: str, event: str, tries: int = 0, most: int = 5) -> None:
        self.records.append(
            Record(len(self.records) + 1, job, event, tries, most if event == "created" else None)
        )

    def accept(self, job: str, *ends: str) -> None:
        self.say(What.SUBMIT, job, ends=list[JsonValue](ends))
        self.store(job, "created")
        self.say(What.ACCEPTED, job)

    def enter(self, job: str, tries: int = 1, pid: int = HERE) -> None:
        self.store(job, "started", tries)
        self.say(What.ENTER, job, pid, tries=tries, queue="q")

    def exit(self, job: str, tries: int = 1, pid: int = HERE, how: str = "returned") -> None:
        self.say(What.EXIT, job, pid, tries=tries, queue="q", how=how)

    def complete(self, job: str, tries: int = 1) -> None:
        self.accept(job, "completed")
        self.enter(job, tries)
        self.exit(job, tries)
        self.store(job, "completed", tries)

    def broken(self, work: tuple[str, ...] = ()) -> set[str]:
        return set(check(self.history, Dump(tuple(self.records), work)).violations())
