"""The use of a named schema, as the docstring of a schema without a description."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.exchange import Operation
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef

__all__ = ["find_purposes"]

_MOST_USES = 3
"""The number of uses of one schema that its docstring names."""


def find_purposes(manifest: Manifest) -> dict[str, str]:
    """Return a sentence for each schema that a surface refers to; of many uses the first ones are named."""
    found: dict[str, list[str]] = {}
    for ref, words in _uses(manifest):
        if ref is not None:
            found.setdefault(ref.schema_name, []).append(words)
    return {name: _join(uses) for name, uses in found.items()}


def _join(uses: list[str]) -> str:
    first, *others = uses[:_MOST_USES]
    parts = [first, *(f"{words[0].lower()}{words[1:]}" for words in others)]
    if len(uses) > _MOST_USES:
        parts.append(f"{len(uses) - _MOST_USES} more")
    last = parts.pop()
    return f"{', '.join(parts)} and {last}." if parts else f"{last}."


def _uses(manifest: Manifest) -> Iterator[tuple[SchemaRef | None, str]]:
    for name, job in (manifest.jobs or {}).items():
        yield job.payload, f"The payload of `{name}` jobs"
        yield job.result, f"The result of `{name}` jobs"
        yield job.update, f"An update of running `{name}` jobs"
    for name, rpc in (manifest.rpc or {}).items():
        yield rpc.input, f"The request of `{name}`"
        yield rpc.output, f"The response of `{name}`"
    for name, event in (manifest.events or {}).items():
        yield event.event, f"The `{name}` event"
    for name, feed in (manifest.feeds or {}).items():
        yield feed.input, f"The request that opens the `{name}` feed"
        yield feed.event, f"One message of the `{name}` feed"
    for name, operation in (manifest.operations or {}).items():
        yield from _uses_of_operation(name, operation)
    for name, bucket in ((manifest.resources.kv if manifest.resources else None) or {}).items():
        yield bucket.schema_ref, f"A value of the `{name}` bucket"
    for name, state in (manifest.state or {}).items():
        yield state.schema_ref, f"A value of the `{name}` state"
        for version, old in (state.accepted_versions or {}).items():
            yield old, f"A value of the `{name}` state of version `{version}`"
    for error in (manifest.errors or {}).values():
        yield error.schema_ref, f"The data of the error `{error.error_type}`"


def _uses_of_operation(name: str, operation: Operation) -> Iterator[tuple[SchemaRef | None, str]]:
    yield operation.input, f"The request that starts `{name}`"
    yield operation.progress, f"The progress of `{name}`"
    yield operation.output, f"The result of `{name}`"
    for signal_name, signal in (operation.signals or {}).items():
        yield signal.input, f"The input of the signal `{signal_name}` of `{name}`"
