"""What a package uses on the server: names only. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from trellis_nats.binding import BucketBinding, JobsBinding, QueueBinding
from trellis_nats.errors import ConfigurationError
from trellis_nats.provision import Requirements, requirements_of
from trellis_nats.runtime import Runtime
from trellis_nats.specs import EventSpec, JobSpec, RpcSpec

__all__ = ["Usage", "inbox_prefix", "usage_of"]

_INBOX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Everything that a service or a client uses."""

    service: str
    inbox: str
    jobs: JobsBinding | None
    keyed: frozenset[str]
    """The queues with concurrency keys."""
    buckets: tuple[BucketBinding, ...]
    optional_buckets: frozenset[str]
    """Of these, by the bucket's name, what the contract does not require."""
    published: tuple[EventSpec, ...]
    heard: tuple[EventSpec, ...]
    served: tuple[RpcSpec, ...]
    called: tuple[RpcSpec, ...]
    handled_queues: frozenset[str]
    handled_rpcs: frozenset[str]
    requirements: Requirements

    @property
    def queues(self) -> Iterator[tuple[JobsBinding, QueueBinding]]:
        """Every queue, with what it belongs to."""
        if self.jobs is not None:
            for queue in self.jobs.queues.values():
                yield self.jobs, queue

    def is_keyed(self, queue: QueueBinding) -> bool:
        """Say whether a queue has concurrency keys."""
        return queue.queue_type in self.keyed or queue.key_concurrency is not None


def usage_of(runtime: Runtime, *, is_client: bool) -> Usage:
    """Read what a package declared to its runtime.

    Raises:
        ConfigurationError: a name may not stand in a subject.
    """
    binding = runtime.binding
    names = {spec.name: binding.kv[spec.name].bucket for spec in runtime.buckets if spec.name in binding.kv}
    handled = runtime.handled
    return Usage(
        service=runtime.contract.name,
        inbox=inbox_prefix(runtime, is_client=is_client),
        jobs=binding.jobs,
        keyed=frozenset(spec.name for spec in runtime.queues if spec.key is not None),
        buckets=tuple(binding.kv.values()),
        optional_buckets=frozenset(
            names[spec.name] for spec in runtime.buckets if spec.name in names and not spec.required
        ),
        published=tuple(runtime.events),
        heard=tuple(runtime.heard),
        served=tuple(runtime.served),
        called=tuple(runtime.called),
        handled_queues=frozenset(spec.name for spec in handled if isinstance(spec, JobSpec)),
        handled_rpcs=frozenset(spec.name for spec in handled if isinstance(spec, RpcSpec)),
        requirements=requirements_of(binding, events=bool(runtime.events)),
    )


def inbox_prefix(runtime: Runtime, *, is_client: bool) -> str:
    """Return where answers arrive: under a prefix of the service's own, which its clients may not hear.

    Raises:
        ConfigurationError: `Options.inbox_prefix` is no prefix of subjects.
    """
    chosen = runtime.options.inbox_prefix
    if chosen is None:
        return f"_INBOX_{runtime.contract.name}" + (".client" if is_client else "")
    if _INBOX.fullmatch(chosen) is None:
        raise ConfigurationError(
            f'inbox_prefix "{chosen}" must be tokens of A-Z a-z 0-9 _ - with dots between them'
        )
    return chosen
