"""Reads samples of real payloads with both contracts: what only the new one refuses is a break, whatever the comparison says.

A sample that the new contract reads proves nothing: others may still fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.findings import Finding
from trellis_codegen.breaking.proof.evaluate import takes
from trellis_codegen.breaking.proof.kinds import Kind
from trellis_codegen.breaking.proof.models import read_model
from trellis_codegen.breaking.rules.grades import SURFACES, Direction, Grade
from trellis_codegen.contract.manifest import Manifest

__all__ = ["SAMPLE_RULE", "Sample", "SampleCounts", "find_refused_samples"]

SAMPLE_RULE: Final = "SAMPLE_REFUSED"
"""The id of the only rule that is not about the contracts alone."""
_NAMED: Final = 3
_REMEDY: Final = (
    "When `trellis audit` finds no such payload any more, make the change, and delete the samples."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The payload of one job, as `trellis audit export` wrote it."""

    file: str
    """Its path, as messages show it."""
    contract: str
    """The id of the contract."""
    queue: str
    digest: str | None
    """That of the contract that wrote it; None if it is unknown."""
    payload: JsonValue


@dataclass(slots=True)
class SampleCounts:
    """What became of the samples."""

    read: int = 0
    """The new contract reads them."""
    refused: int = 0
    """The old contract reads them, and the new one does not."""
    refused_before: int = 0
    """The old contract does not read them either: this change does not break them."""
    without_queue: int = 0
    """Their contract or queue is not in both contracts."""


def find_refused_samples(
    old: Manifest, new: Manifest, samples: Iterable[Sample]
) -> tuple[list[Finding], SampleCounts]:
    """Return a finding for each queue with samples that the old contract reads and the new one refuses.

    The schemas of both contracts can be written as Python types.
    """
    kinds = _Kinds(old), _Kinds(new)
    counts = SampleCounts()
    refused: dict[str, list[Sample]] = {}
    for sample in samples:
        before, after = (each.of(sample.queue) for each in kinds)
        if sample.contract not in (old.id, new.id) or before is None or after is None:
            counts.without_queue += 1
        elif takes(after, sample.payload):
            counts.read += 1
        elif not takes(before, sample.payload):
            counts.refused_before += 1
        else:
            counts.refused += 1
            refused.setdefault(sample.queue, []).append(sample)
    return [_make_finding(queue, found, old, new) for queue, found in refused.items()], counts


def _make_finding(queue: str, samples: list[Sample], old: Manifest, new: Manifest) -> Finding:
    files = ", ".join(sample.file for sample in samples[:_NAMED])
    more = f" and {len(samples) - _NAMED} more" if len(samples) > _NAMED else ""
    count = f"{len(samples)} sample{'s' * (len(samples) > 1)} of real payloads"
    return Finding(
        rule=SAMPLE_RULE,
        grade=Grade.BREAK,
        columns=SURFACES["JOB_PAYLOAD"].forward.columns,
        direction=Direction.FORWARD,
        surface=f"job queue {queue}, payload",
        pointer=_find_schema(new, queue),
        old_pointer=_find_schema(old, queue),
        message=f"{count} cannot be read any longer: {files}{more}",
        witnesses=((Direction.FORWARD, samples[0].payload),),
        remedy=(f"Keep the new contract able to read what is stored, or {_name_upcaster(samples)}.", _REMEDY),
    )


def _name_upcaster(samples: list[Sample]) -> str:
    """Return which upcaster reads the samples. They may be of versions before the old contract."""
    digests = sorted({sample.digest for sample in samples if sample.digest})
    named = ", ".join(f'"{digest}"' for digest in digests[:_NAMED])
    more = f" and {len(digests) - _NAMED} more" if len(digests) > _NAMED else ""
    return (
        f"register an upcaster: from_digest={named}{more}"
        if named
        else "register an upcaster without from_digest"
    )


def _find_schema(manifest: Manifest, queue: str) -> tuple[str, str]:
    return ("schemas", (manifest.jobs or {})[queue].payload.schema_name)


@dataclass(slots=True)
class _Kinds:
    """The kinds of payloads of one contract."""

    manifest: Manifest
    known: dict[str, Kind | None] = field(default_factory=dict[str, "Kind | None"])

    def of(self, queue: str) -> Kind | None:
        """Return the kind of a queue's payloads; None if the contract does not have the queue."""
        if queue not in self.known:
            job = (self.manifest.jobs or {}).get(queue)
            schemas = self.manifest.schemas or {}
            name = None if job is None else job.payload.schema_name
            self.known[queue] = None if name is None else read_model(name, schemas[name], is_event=False).root
        return self.known[queue]
