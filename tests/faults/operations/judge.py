"""What must be true of operations whatever was killed. Pure: each function returns what is not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trellis_nats import OperationUpdate
from trellis_nats.operations.model.record import OperationRecord

from tests.faults.operations.crew import Line
from tests.support.processing import ProcessOutput, ProcessProgress

__all__ = ["Update", "judge_handlers", "judge_records", "judge_signals", "judge_watch"]

Update = OperationUpdate[ProcessProgress, ProcessOutput]

_HISTORY = 5


def judge_records(records: Sequence[OperationRecord]) -> list[str]:
    """Judge every stored revision of one operation: it grows by one event at a time, and ends once."""
    wrong: list[str] = []
    if [record.has_ended for record in records].count(True) != 1 or not records[-1].has_ended:
        wrong.append(f"ends: {[record.state.value for record in records]}")
    if (records[0].sequence, records[0].snapshot.revision) != (0, 1):
        wrong.append("it does not begin at revision 1")
    for before, after in pairwise(records):
        steps = after.sequence - before.sequence, after.snapshot.revision - before.snapshot.revision
        if steps not in {(0, 0), (1, 1)}:
            wrong.append(f"sequence and revision rise by {steps}")
        if steps == (0, 0) and before.snapshot != after.snapshot:
            wrong.append("the snapshot changes without an event")
        if after.signals[: len(before.signals)] != before.signals:
            wrong.append("a signal is lost")
    runners = [record.runner for record in records if record.runner is not None]
    turns = [runner for before, runner in zip([None, *runners], runners, strict=False) if before != runner]
    if len(turns) != len(set(turns)):
        wrong.append("a process writes after another took over")
    numbers = [entry.sequence for entry in records[-1].signals]
    if numbers != list(range(1, len(numbers) + 1)):
        wrong.append(f"signals: {numbers}")
    return wrong


def judge_watch(name: str, updates: Sequence[Update], records: Sequence[OperationRecord]) -> list[str]:
    """Judge what one watcher got: every event from its first one on, once, as it is stored.

    Events may be missing where the first one after the gap had left the five newest revisions.
    """
    if not updates:
        return [f"{name} got nothing"]
    wrong: list[str] = []
    snapshots = {record.sequence: record.snapshot for record in records}
    for before, after in pairwise(updates):
        behind = sum(record.sequence >= after.sequence for record in records)
        is_excused = before.sequence < after.sequence and behind >= _HISTORY
        if after.sequence != before.sequence + 1 and not is_excused:
            wrong.append(f"{name}: {before.sequence} is followed by {after.sequence}, {after.type}")
    for update in updates:
        stored = snapshots.get(update.sequence)
        if stored is None or (stored.revision, stored.state) != (
            update.snapshot.revision,
            update.snapshot.state,
        ):
            wrong.append(f"{name}: {update} is not what is stored")
    if not updates[-1].snapshot.is_terminal:
        wrong.append(f"{name} does not see the end")
    return wrong


def judge_handlers(lines: Sequence[Line]) -> list[str]:
    """Judge the handlers of one operation, in the order of the file: one at a time in living processes."""
    wrong: list[str] = []
    running: set[int] = set()
    halted: set[int] = set()
    newest = 0
    for line in lines:
        match line.what:
            case "killed" | "frozen":
                running.discard(line.pid)
                halted.add(line.pid)
            case "began":
                if running:
                    wrong.append(f"attempt {line.attempt} begins while {running} runs it")
                if line.attempt <= newest:
                    wrong.append(f"attempt {line.attempt} begins after {newest}")
                newest = line.attempt
                running.add(line.pid)
            case "ended":
                running.discard(line.pid)
            case "stored" if line.attempt < newest:
                wrong.append(f"attempt {line.attempt} stores progress after {newest} has begun")
            case _:
                pass
    return wrong


def judge_signals(lines: Sequence[Line], record: OperationRecord) -> list[str]:
    """Judge which signals the newest attempt of a handler got: those of the record, once, in order."""
    attempts = [line.attempt for line in lines if line.what == "began"]
    taken = [int(line.detail) for line in lines if line.what == "signal" and line.attempt == max(attempts)]
    if taken != list(range(1, len(taken) + 1)) or len(taken) > len(record.signals):
        return [f"the handler got the signals {taken} of {len(record.signals)}"]
    return []
