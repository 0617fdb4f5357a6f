"""A keyed scenario made by hand, with what the server would have stored."""

from __future__ import annotations

from typing import Final

from pydantic import JsonValue

from tests.faults.harness.dump import Dump, Record
from tests.faults.harness.history import Entry, What
from tests.faults.keys.audit import Audit, Told, audit
from tests.faults.keys.revisions import Revision, Slot

SECOND: Final = 1_000_000_000
KEY: Final = ("dock", "b1")
HERE, THERE = 1, 2


class Story:
    """A scenario, told step by step, with what the server would have stored. A step takes a millisecond."""

    def __init__(self) -> None:
        self.now = 10 * SECOND
        self.history: list[Entry] = []
        self.records: list[Record] = []
        self.revisions: list[Revision] = []
        self.active: list[Slot] = []
        self.queued: list[str] = []

    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)

    def say(self, what: What, job: str = "", pid: int = HERE, **facts: JsonValue) -> None:
        self.wait(0.001)
        self.history.append(Entry(self.now, pid, what, job, facts))

    def store(self, job: str, event: str, tries: int = 0, error: str = "") -> None:
        self.wait(0.001)
        self.records.append(Record(len(self.records) + 1, job, event, tries, 30, KEY[0], error, self.now))

    def write(self, *, expected: int | None = None) -> None:
        """Store the record of the key as it is now."""
        self.wait(0.001)
        last = self.revisions[-1].number if self.revisions else 0
        told = last if expected is None else expected
        self.revisions.append(
            Revision(KEY, last + 1, told, self.now, last, tuple(self.active), tuple(self.queued))
        )

    def submit(self, job: str, replaced: str = "") -> None:
        self.say(What.SUBMIT, job, ends=[], queue=KEY[0], key=KEY[1])
        self.queued.append(job)
        self.write()
        self.store(job, "created")
        self.say(What.ACCEPTED, job, replaced=replaced)

    def begin(self, job: str, tries: int = 1, pid: int = HERE) -> None:
        self.active.append((job, tries))
        self.queued = [each for each in self.queued if each != job]
        self.write()
        self.store(job, "started", tries)
        self.enter(job, tries, pid)

    def enter(self, job: str, tries: int = 1, pid: int = HERE) -> None:
        self.say(What.ENTER, job, pid, tries=tries, queue=KEY[0], key=KEY[1])

    def leave(self, job: str, tries: int = 1, pid: int = HERE, how: str = "returned") -> None:
        self.say(What.EXIT, job, pid, tries=tries, queue=KEY[0], key=KEY[1], how=how)

    def end(self, job: str, tries: int = 1, pid: int = HERE) -> None:
        self.leave(job, tries, pid)
        self.store(job, "completed", tries)
        self.release(job, tries)

    def release(self, job: str, tries: int = 1) -> None:
        self.active.remove((job, tries))
        self.write()

    def judged(self) -> Audit:
        self.say(What.NEMESIS, fault="the end")
        return audit(
            Told(
                history=self.history,
                dump=Dump(tuple(self.records)),
                revisions=self.revisions,
                limits={"dock": (1, 1)},
                lease=2 * SECOND,
                ack_wait=2 * SECOND,
            )
        )

    def broken(self) -> set[str]:
        return set(self.judged().violations())
