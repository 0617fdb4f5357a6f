"""Shows what an audit found, for people and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import JsonValue

from trellis_admin.audit.counts import Audit, Counted, Example, FailureCount, Kind, Subject, Writer

__all__ = ["VERSION", "to_json", "to_text"]

VERSION: Final = 1
"""The version of the JSON. It changes when a member is removed or means something else; members may be added."""
_INDENT: Final = "    "
_IDS_SHOWN: Final = 3


def to_text(audits: Iterable[Audit], *, show_values: bool = False) -> str:
    """Return what was found, for people: a line for each queue and event, and lines for each reason."""
    return "\n".join(_printable(line) for audit in audits for line in _lines(audit, show_values=show_values))


def to_json(audits: Iterable[Audit], *, show_values: bool = False) -> str:
    """Return what was found as one JSON object (docs/reference/audit.md)."""
    contracts = [_object(audit, show_values=show_values) for audit in audits]
    return json.dumps({"version": VERSION, "contracts": contracts}, indent=2)


def _printable(line: str) -> str:
    """Return a line without what steers a terminal, or what it cannot write: ids, names and values are those of senders."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


def _lines(audit: Audit, *, show_values: bool) -> Iterator[str]:
    yield f"{audit.contract_id} (digest {audit.digest})"
    for subject in audit.subjects:
        yield from _subject_lines(subject, show_values=show_values)
    yield _summary(audit)


def _subject_lines(subject: Subject, *, show_values: bool) -> Iterator[str]:
    title = f"queue {subject.name}" if subject.kind is Kind.PAYLOAD else f"{subject.kind} {subject.name}"
    counted = _describe(subject.kind, subject.counted)
    if not subject.is_declared:
        if subject.counted.total:
            yield f"  ? {title} is not in the contract: {counted}, which no worker of this version takes"
        return
    notes = f"; an upcaster reads {subject.upcast:,} of them" if subject.upcast else ""
    if subject.gone:
        notes += f"; {subject.gone:,} more have lost their payload to the limits of the stream"
    if not subject.refused.total:
        yield f"  = {title}: {counted}{notes}"
        return
    yield f"  x {title}: {counted}; refused: {_describe(subject.kind, subject.refused)}{notes}"
    for (kind, place), failure in sorted(subject.failures.items(), key=_most_first):
        yield f"{_INDENT}{failure.counted.total:,} at {place or 'the root'}: {failure.text} ({kind})"
        yield f"{_INDENT}  {_name_examples(failure)}"
        if show_values:
            yield from (
                f"{_INDENT}  {each.id}: {json.dumps(each.value, ensure_ascii=False)}"
                for each in failure.examples
            )
    for digest, writer in sorted(subject.writers.items()):
        yield f"{_INDENT}{_name_writer(digest)} {_describe_writer(writer)}{_hint_at_upcasters(subject, digest)}"


def _most_first(item: tuple[tuple[str, str], FailureCount]) -> tuple[int, tuple[str, str]]:
    return -item[1].counted.total, item[0]


def _describe(kind: Kind, counted: Counted) -> str:
    if kind is not Kind.PAYLOAD:
        return f"{counted.total:,}"
    return f"{counted.waiting:,} waiting and {counted.dead:,} dead jobs"


def _name_examples(failure: FailureCount) -> str:
    ids = ", ".join(each.id for each in failure.examples[:_IDS_SHOWN])
    more = failure.counted.total - min(len(failure.examples), _IDS_SHOWN)
    return f"{ids} and {more:,} more" if more else ids


def _name_writer(digest: str) -> str:
    return f"contract version {digest}" if digest else "a runtime that names no version"


def _describe_writer(writer: Writer) -> str:
    return f"wrote {writer.values:,}, of which {writer.refused:,} {'is' if writer.refused == 1 else 'are'} refused"


def _hint_at_upcasters(subject: Subject, digest: str) -> str:
    """Return a hint where upcasters are registered, but none for a version that is refused: its digest may be misspelt."""
    is_missing = digest and subject.upcast_versions and digest not in subject.upcast_versions
    return "; no upcaster has this digest" if is_missing and subject.writers[digest].refused else ""


def _wrote_all(audit: Audit) -> bool:
    """Return whether the contract wrote all values itself, as in an audit of a package that is not generated again yet."""
    return {digest for subject in audit.subjects for digest in subject.writers} == {audit.digest}


def _summary(audit: Audit) -> str:
    parts = [f"{audit.values:,} {'value' if audit.values == 1 else 'values'}"]
    if audit.is_safe:
        itself = "; this version wrote them" if _wrote_all(audit) else ""
        return f"  {parts[0]}: the contract reads all of them{itself}"
    if audit.refused:
        parts.append(f"{audit.refused:,} {'is' if audit.refused == 1 else 'are'} refused")
    if audit.unclaimed:
        where = "job is in a queue" if audit.unclaimed == 1 else "jobs are in queues"
        parts.append(f"{audit.unclaimed:,} {where} that the contract does not have")
    return f"  {', '.join(parts)}"


def _object(audit: Audit, *, show_values: bool) -> dict[str, object]:
    return {
        "id": audit.contract_id,
        "digest": audit.digest,
        "safe": audit.is_safe,
        "values": audit.values,
        "refused": audit.refused,
        "unclaimed": audit.unclaimed,
        "subjects": [_subject_object(subject, show_values=show_values) for subject in audit.subjects],
    }


def _subject_object(subject: Subject, *, show_values: bool) -> dict[str, object]:
    return {
        "kind": subject.kind.value,
        "name": subject.name,
        "declared": subject.is_declared,
        "counted": _counted_object(subject.counted),
        "refused": _counted_object(subject.refused),
        "upcast": subject.upcast,
        "gone": subject.gone,
        "failures": [
            {
                "type": kind,
                "place": place,
                "text": failure.text,
                "counted": _counted_object(failure.counted),
                "examples": [_example_object(each, show_values=show_values) for each in failure.examples],
            }
            for (kind, place), failure in sorted(subject.failures.items(), key=_most_first)
        ],
        "writers": [_writer_object(digest, writer) for digest, writer in sorted(subject.writers.items())],
    }


def _counted_object(counted: Counted) -> dict[str, int]:
    return {"waiting": counted.waiting, "dead": counted.dead}


def _example_object(example: Example, *, show_values: bool) -> dict[str, object]:
    return {"id": example.id, **({"value": _without_nan(example.value)} if show_values else {})}


def _without_nan(value: JsonValue) -> JsonValue:
    """Return a value with NaN and the infinities, which JSON does not have, as texts."""
    copied: JsonValue = json.loads(json.dumps(value), parse_constant=str)
    return copied


def _writer_object(digest: str, writer: Writer) -> dict[str, object]:
    return {"digest": digest or None, "values": writer.values, "refused": writer.refused}
