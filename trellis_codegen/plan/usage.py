"""What a named schema is for: the words for one that has none of its own."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef

__all__ = ["purposes"]


def purposes(manifest: Manifest) -> dict[str, str]:
    """Return a sentence for each schema that a surface refers to; of several uses the first is named."""
    result: dict[str, str] = {}
    for ref, words in _uses(manifest):
        if ref is not None:
            result.setdefault(ref.schema_name, f"{words}.")
    return result


def _uses(manifest: Manifest) -> Iterator[tuple[SchemaRef | None, str]]:
    for name, job in sorted((manifest.jobs or {}).items()):
        yield job.payload, f"What a `{name}` job is created with"
        yield job.result, f"What a `{name}` job results in"
        yield job.update, f"What a `{name}` job tells while it runs"
    for name, rpc in sorted((manifest.rpc or {}).items()):
        yield rpc.input, f"What `{name}` is asked"
        yield rpc.output, f"What `{name}` answers"
    for name, event in sorted((manifest.events or {}).items()):
        yield event.event, f"What `{name}` tells"
    for name, feed in sorted((manifest.feeds or {}).items()):
        yield feed.input, f"What `{name}` is opened with"
        yield feed.event, f"What `{name}` brings"
    for name, operation in sorted((manifest.operations or {}).items()):
        yield operation.input, f"What `{name}` is started with"
        yield operation.progress, f"How far `{name}` has come"
        yield operation.output, f"What `{name}` ends with"
    for name, bucket in sorted(((manifest.resources.kv if manifest.resources else None) or {}).items()):
        yield bucket.schema_ref, f"What the `{name}` bucket holds"
    for name, state in sorted((manifest.state or {}).items()):
        yield state.schema_ref, f"What the `{name}` state holds"
    for error in (manifest.errors or {}).values():
        yield error.schema_ref, f"What `{error.error_type}` carries"
