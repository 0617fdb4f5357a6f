"""Changes of RPCs, operations, feeds and declared errors outside of their schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from trellis_codegen.breaking.rules.grades import Column, Grade
from trellis_codegen.breaking.surfaces.changes import (
    ContractChange,
    find_added,
    find_added_rights,
    find_removed,
    find_removed_rights,
    list_common,
)
from trellis_codegen.contract.exchange import ErrorRef, Operation, Rpc
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer

__all__ = [
    "find_error_changes",
    "find_feed_changes",
    "find_operation_changes",
    "find_rpc_changes",
    "find_subject_change",
]

_ROLES = ("call", "observe", "cancel", "control")


class _Addressed(Protocol):
    @property
    def version(self) -> str: ...

    @property
    def subject(self) -> str: ...


def find_subject_change(
    rule: str, old: _Addressed, new: _Addressed, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    """Yield another subject or version."""
    for field, before, after in (
        ("subject", old.subject, new.subject),
        ("version", old.version, new.version),
    ):
        if before != after:
            words = {"old": before, "new": after}
            yield ContractChange(
                rule=rule, surface=surface, old=(*place, field), new=(*place, field), words=words
            )
            return


def find_rpc_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all RPCs."""
    yield from find_removed("RPC_REMOVED", old.rpc, new.rpc, ("rpc",), "RPC")
    yield from find_added(old.rpc, new.rpc, ("rpc",), "RPC")
    for name, before, after in list_common(old.rpc, new.rpc):
        surface, place = f"RPC {name}", ("rpc", name)
        yield from find_subject_change("RPC_SUBJECT_CHANGED", before, after, place, surface)
        if after.internal and not before.internal:
            yield ContractChange(
                rule="RPC_BECAME_INTERNAL", surface=surface, old=place, new=(*place, "internal")
            )
        if before.transfer != after.transfer:
            yield ContractChange(
                rule="RPC_TRANSFER_CHANGED",
                surface=surface,
                old=(*place, "transfer"),
                new=(*place, "transfer") if after.transfer else place,
                words={"new": "a grant for a transfer" if after.transfer else "a value"},
            )
        yield from _find_errors(before, after, place, surface)
        yield from _find_rights(before, after, place, surface)


def _find_errors(
    old: Rpc | Operation, new: Rpc | Operation, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    before, after = _list_errors(old.errors), _list_errors(new.errors)
    for rule, names in (("RPC_ERROR_ADDED", after - before), ("RPC_ERROR_REMOVED", before - after)):
        for name in sorted(names):
            yield ContractChange(
                rule=rule,
                surface=surface,
                old=(*place, "errors"),
                new=(*place, "errors"),
                words={"name": name},
            )


def _list_errors(errors: list[ErrorRef] | None) -> set[str]:
    return {error.error_type for error in errors or []}


def _find_rights(
    old: Rpc | Operation, new: Rpc | Operation, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    before = old.capabilities.model_dump() if old.capabilities else {}
    after = new.capabilities.model_dump() if new.capabilities else {}
    for role in _ROLES:
        inner = (*place, "capabilities", role)
        rights = before.get(role), after.get(role)
        yield from find_added_rights("CALL_CAPABILITY_ADDED", *rights, inner, surface)
        yield from find_removed_rights(*rights, inner, surface)


def find_operation_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all operations."""
    yield from find_removed("OPERATION_REMOVED", old.operations, new.operations, ("operations",), "operation")
    yield from find_added(old.operations, new.operations, ("operations",), "operation")
    for name, before, after in list_common(old.operations, new.operations):
        surface, place = f"operation {name}", ("operations", name)
        yield from find_subject_change("OPERATION_SUBJECT_CHANGED", before, after, place, surface)
        if before.cancel and not after.cancel:
            yield ContractChange(
                rule="OPERATION_CANCEL_REMOVED",
                surface=surface,
                old=(*place, "cancel"),
                new=(*place, "cancel"),
            )
        for signal in before.signals or {}:
            if signal not in (after.signals or {}):
                yield ContractChange(
                    rule="OPERATION_SIGNAL_REMOVED",
                    surface=surface,
                    old=(*place, "signals", signal),
                    words={"name": signal},
                )
        yield from find_added(before.signals, after.signals, (*place, "signals"), f"operation {name}, signal")
        if before.progress is not None and after.progress is None:
            yield ContractChange(rule="OPERATION_PROGRESS_REMOVED", surface=surface, old=(*place, "progress"))
        yield from _find_transfer_changes(before, after, place, surface)
        yield from _find_errors(before, after, place, surface)
        yield from _find_rights(before, after, place, surface)


def _find_transfer_changes(
    old: Operation, new: Operation, place: Pointer, surface: str
) -> Iterator[ContractChange]:
    before, after = old.transfer, new.transfer
    change = partial(_change_transfer, (*place, "transfer"), surface)
    if before is None or after is None:
        if before is not after:
            what = "is gone" if after is None else "is new"
            # What was uploaded is not read any more; where nothing was, callers alone break.
            columns = (Column.PRODUCERS, Column.STORED) if after is None else (Column.PRODUCERS,)
            yield change((), {"name": "the transfer", "new": what}, columns, is_gone=after is None)
        return
    for field, one, other, grade in (
        ("store", before.store, after.store, Grade.BREAK),
        ("key", before.key, after.key, Grade.BREAK),
        ("contentType", before.content_type, after.content_type, Grade.RISKY),
        ("metadata", before.metadata, after.metadata, Grade.RISKY),
    ):
        if one != other:
            words = {"name": f'"{field}"', "new": f"was {one}, and is {other}"}
            yield change((field,), words, (Column.STORED,), grade)
    for field, limit, other_limit in (
        ("maxBytes", before.max_bytes, after.max_bytes),
        ("expiresInMs", before.expires_in_ms, after.expires_in_ms),
    ):
        if other_limit is not None and (limit is None or other_limit < limit):
            words = {"name": f'"{field}"', "new": f"is {other_limit} now"}
            yield change((field,), words, (Column.PRODUCERS,), Grade.RISKY)


def _change_transfer(
    place: Pointer,
    surface: str,
    way: Pointer,
    words: Mapping[str, str],
    columns: tuple[Column, ...],
    grade: Grade = Grade.BREAK,
    *,
    is_gone: bool = False,
) -> ContractChange:
    return ContractChange(
        rule="OPERATION_TRANSFER_CHANGED",
        surface=surface,
        old=(*place, *way),
        new=None if is_gone else (*place, *way),
        words={**words},
        grade=grade,
        columns=columns,
    )


def find_feed_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of all feeds."""
    yield from find_removed("FEED_REMOVED", old.feeds, new.feeds, ("feeds",), "feed")
    yield from find_added(old.feeds, new.feeds, ("feeds",), "feed")
    for name, before, after in list_common(old.feeds, new.feeds):
        surface, place = f"feed {name}", ("feeds", name)
        yield from find_subject_change("FEED_SUBJECT_CHANGED", before, after, place, surface)
        rights = [each.capabilities.subscribe if each.capabilities else None for each in (before, after)]
        inner = (*place, "capabilities", "subscribe")
        yield from find_added_rights("SUBSCRIBE_CAPABILITY_ADDED", rights[0], rights[1], inner, surface)
        yield from find_removed_rights(rights[0], rights[1], inner, surface)


def find_error_changes(old: Manifest, new: Manifest) -> Iterator[ContractChange]:
    """Yield the changes of declared errors."""
    for name, before, after in list_common(old.errors, new.errors):
        surface, place = f"error {name}", ("errors", name)
        if before.error_type != after.error_type:
            yield ContractChange(
                rule="ERROR_TYPE_CHANGED",
                surface=surface,
                old=(*place, "type"),
                new=(*place, "type"),
                words={"old": before.error_type, "new": after.error_type},
            )
        if before.schema_ref is None and after.schema_ref is not None:
            yield ContractChange(
                rule="ERROR_SCHEMA_ADDED", surface=surface, old=place, new=(*place, "schema")
            )
        if before.schema_ref is not None and after.schema_ref is None:
            yield ContractChange(
                rule="ERROR_SCHEMA_REMOVED", surface=surface, old=(*place, "schema"), new=place
            )
