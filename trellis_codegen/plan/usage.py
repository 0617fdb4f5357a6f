"""The use of a named schema, as the docstring of a schema without a description."""

from __future__ import annotations

from collections.abc import Iterator

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.contract.parts import SchemaRef

__all__ = ["find_purposes"]


def find_purposes(manifest: Manifest) -> dict[str, str]:
    """Return a sentence for each schema that a surface refers to; of several uses the first is named."""
    result: dict[str, str] = {}
    for ref, words in _uses(manifest):
        if ref is not None:
            result.setdefault(ref.schema_name, f"{words}.")
    return result


def _uses(manifest: Manifest) -> Iterator[tuple[SchemaRef | None, str]]:
    for name, job in (manifest.jobs or {}).items():
        yield job.payload, f"The payload of a `{name}` job"
        yield job.result, f"The result of a `{name}` job"
        yield job.update, f"An update of a running `{name}` job"
    for name, rpc in (manifest.rpc or {}).items():
        yield rpc.input, f"The request of `{name}`"
        yield rpc.output, f"The response of `{name}`"
    for name, event in (manifest.events or {}).items():
        yield event.event, f"The `{name}` event"
    for name, feed in (manifest.feeds or {}).items():
        yield feed.input, f"The request that opens the `{name}` feed"
        yield feed.event, f"One message of the `{name}` feed"
    for name, operation in (manifest.operations or {}).items():
        yield operation.input, f"The request that starts `{name}`"
        yield operation.progress, f"The progress of `{name}`"
        yield operation.output, f"The result of `{name}`"
    for name, bucket in ((manifest.resources.kv if manifest.resources else None) or {}).items():
        yield bucket.schema_ref, f"A value of the `{name}` bucket"
    for name, state in (manifest.state or {}).items():
        yield state.schema_ref, f"A value of the `{name}` state"
        for version, old in (state.accepted_versions or {}).items():
            yield old, f"A value of the `{name}` state of version `{version}`"
    for error in (manifest.errors or {}).values():
        yield error.schema_ref, f"The data of a `{error.error_type}`"
