"""A group as users see it: registering the handlers of its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from typing_extensions import override

from trellis_nats._support.callables import describe_callable, find_parameter_problem, is_coroutine_function
from trellis_nats._support.grace_period import GracePeriod
from trellis_nats._versions import ContractVersion
from trellis_nats.binding import Binding, GroupBinding
from trellis_nats.clock import to_milliseconds
from trellis_nats.errors import ConfigurationError, HandlerConflict
from trellis_nats.events.groups.consumer import group_consumer
from trellis_nats.events.groups.event_handler import EventHandler, EventRegistration
from trellis_nats.events.groups.group_worker import GroupWorker
from trellis_nats.events.groups.other_version import EventPatience, notice_subject
from trellis_nats.events.subjects import EVENT_STREAM
from trellis_nats.grants import Grant, Role, StartCheck, api, publish, subscribe
from trellis_nats.ids import require_token
from trellis_nats.metrics.families import EVENTS_POSTPONED
from trellis_nats.provision.requirements import Requirement
from trellis_nats.runtime import Runtime
from trellis_nats.specs import EventSpec, GroupSpec
from trellis_nats.surface import Surface

__all__ = ["ConsumerGroup", "GroupEvent", "worked_groups"]

EventT = TypeVar("EventT")


class ConsumerGroup:
    """A durable consumer of events: register a handler for each of its events, then run the service.

    Each event is handled by one instance of the service, at least once: until its handler returns, or has raised in as many
    attempts as the contract allows. The group keeps its place while no instance runs.
    """

    def __init__(self, runtime: Runtime, spec: GroupSpec) -> None:
        self.spec = spec
        """What the contract declares about the group."""
        self._surface = _GroupSurface(runtime, spec)
        runtime.register(self._surface)

    def __repr__(self) -> str:
        return f"<ConsumerGroup {self.spec.name}>"

    def leave_to_others(self) -> None:
        """Do not work the group in this process: other instances of the service do.

        Raises:
            HandlerConflict: an event of the group has a handler, or the service has started.
        """
        self._surface.leave()


class GroupEvent(Generic[EventT]):
    """One event of a group."""

    def __init__(self, group: ConsumerGroup, spec: EventSpec) -> None:
        self.spec = spec
        """What the contract declares about the event."""
        self._surface = surface_of(group)
        self._surface.events.append(spec)

    def __repr__(self) -> str:
        return f"<GroupEvent {self._surface.spec.name} {self.spec.name}>"

    def handle(self, handler: EventHandler[EventT]) -> EventHandler[EventT]:
        """Register the handler: `@event.handle` or `event.handle(function)`. Returns it unchanged.

            @service.consumers.shipped_audit.orders_shipped.handle
            async def audit(event: DeliveredEvent[OrderShippedEvent]) -> None:
                log.info("shipped", order_id=event.event.order_id, attempt=event.attempt)

        When it returns, the event is done. When it raises, the event is delivered again after the group's backoff, until
        its attempts are used up: then it is logged as `event_given_up` and left. An event that does not match its schema
        is logged and removed without a call. Heartbeats keep an event from being delivered a second time while its handler
        runs, however long that takes.

        Raises:
            HandlerConflict: the event has a handler, or the service has started.
            ConfigurationError: the handler is not an `async def`.
        """
        what = f'event "{self.spec.name}" of group "{self._surface.spec.name}"'
        if not is_coroutine_function(handler):
            raise ConfigurationError(
                f"{what}: the handler {describe_callable(handler)} must be an `async def`"
            )
        problem = find_parameter_problem(handler, "event")
        if problem is not None:
            raise ConfigurationError(f"{what}: the handler {describe_callable(handler)} {problem}")
        self._surface.register(what, EventRegistration(self.spec, handler, group=self._surface.spec.name))
        return handler


class _GroupSurface(Surface):
    def __init__(self, runtime: Runtime, spec: GroupSpec) -> None:
        self.spec = spec
        self.events: list[EventSpec] = []
        self._runtime = runtime
        self._registrations: dict[str, EventRegistration[Any]] = {}  # Any: each has an event type of its own
        self._is_left = False
        self._has_started = False
        self._worker: GroupWorker | None = None

    def register(self, what: str, registration: EventRegistration[Any]) -> None:  # Any: likewise
        if self._has_started:
            raise HandlerConflict(f"{what}: register its handler before the service starts")
        if self._is_left:
            raise HandlerConflict(f"{what}: this process leaves the group to others")
        if registration.spec.subject in self._registrations:
            raise HandlerConflict(f"{what} already has a handler")
        self._registrations[registration.spec.subject] = registration

    def leave(self) -> None:
        if self._has_started or self._registrations:
            why = "the service has started" if self._has_started else "it has handlers"
            raise HandlerConflict(f'event group "{self.spec.name}" cannot be left to others: {why}')
        self._is_left = True

    @override
    def local_binding(self, service: str) -> Binding:
        spec = self.spec
        bound = GroupBinding(
            alias=spec.name,
            stream=EVENT_STREAM.name,
            consumer_name=f"{service}__{require_token('event group', spec.name)}",
            filter_subjects=tuple(sorted({event.filter for event in self.events})),
            replay=spec.replay,
            concurrency=spec.concurrency,
            ack_wait_ms=to_milliseconds(spec.ack_wait),
            max_deliver=spec.max_deliver,
            backoff_ms=tuple(map(to_milliseconds, spec.backoff)),
        )
        return Binding(event_consumers={spec.name: bound})

    @override
    def requirements(self, binding: Binding) -> Iterator[Requirement]:
        group = binding.event_consumers.get(self.spec.name)
        if group is not None:
            yield EVENT_STREAM
            yield group_consumer(group)

    @override
    def grants(self, binding: Binding, role: Role) -> Iterable[Grant]:
        group = binding.event_consumers.get(self.spec.name)
        if group is None or role != "worker":
            return
        at_start = StartCheck.SKIPPED if self._is_left else StartCheck.REQUIRED
        stream, consumer, name = group.stream, group.consumer_name, group.alias
        yield api(
            f"CONSUMER.INFO.{stream}.{consumer}",
            f"verify the consumer of event group {name}",
            at_start=at_start,
        )
        yield api(f"CONSUMER.MSG.NEXT.{stream}.{consumer}", f"pull events of group {name}", at_start=at_start)
        yield from _notice_grants(
            group, at_start=StartCheck.SKIPPED if self._is_left else StartCheck.OPTIONAL
        )
        yield publish(
            f"$JS.ACK.{stream}.{consumer}.>", f"acknowledge events of group {name}", at_start=at_start
        )
        yield publish(
            f"$JS.ACK.*.*.{stream}.{consumer}.>",
            f"acknowledge events of group {name} where the server has js_ack_fc_v2",
            at_start=StartCheck.SKIPPED if self._is_left else StartCheck.OPTIONAL,
        )

    @override
    def is_served(self) -> bool:
        """Return whether this process works the group."""
        return not self._is_left

    @override
    async def start(self) -> None:
        """Begin to work the group.

        Raises:
            ConfigurationError: an event has no handler, the binding lacks the group, or this process already works it.
            ProvisioningError: the group's consumer does not exist, or cannot be used.
        """
        name = self.spec.name
        if self._worker is not None:
            raise ConfigurationError(f'this process already works event group "{name}"')
        self._has_started = True
        if self._is_left:
            return
        if missing := [event.name for event in self.events if event.subject not in self._registrations]:
            raise ConfigurationError(
                f'event group "{name}" has no handler for {", ".join(missing)}: register one for each event, or let other '
                "processes work the group with `leave_to_others()`"
            )
        group = self._runtime.binding.event_consumers.get(name)
        if group is None:
            raise ConfigurationError(f'the binding has no event group "{name}"')
        worker = GroupWorker(
            self._runtime.connection,
            group,
            [*self._registrations.values()],
            self._runtime.health,
            self._runtime.clock,
            self._patience(group),
            self._runtime.metrics,
        )
        await worker.start(self._runtime.contract, may_create=self._runtime.may_create)
        self._worker = worker

    def _patience(self, group: GroupBinding) -> EventPatience:
        runtime = self._runtime
        publishing, receiving = _notice_grants(group, at_start=StartCheck.OPTIONAL)
        return EventPatience(
            runtime.connection,
            group,
            ContractVersion(runtime.contract.digest),
            runtime.options.version_patience,
            runtime.clock,
            postponed=runtime.metrics.number(EVENTS_POSTPONED, group.alias),
            may_publish=not runtime.lacks(publishing),
            may_subscribe=not runtime.lacks(receiving),
        )

    @property
    def worked_group(self) -> GroupBinding | None:
        """The group on the server while this process works it; else None."""
        return None if self._worker is None else self._runtime.binding.event_consumers[self.spec.name]

    @override
    async def stop(self, grace: GracePeriod) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop(grace)


def _notice_grants(group: GroupBinding, *, at_start: StartCheck) -> tuple[Grant, Grant]:
    """To tell other instances which deliveries were postponed for another version, and to receive that."""
    subject, name = notice_subject(group), group.alias
    return (
        publish(subject, f"tell which events of group {name} wait for another version", at_start=at_start),
        subscribe(subject, f"learn which events of group {name} wait for another version", at_start=at_start),
    )


def surface_of(group: ConsumerGroup) -> _GroupSurface:
    """Return the surface of a group, which its events register with."""
    return group._surface  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - both are of this module


def worked_groups(runtime: Runtime) -> list[GroupBinding]:
    """Return the groups that this process works now."""
    found = [surface.worked_group for surface in runtime.surfaces if isinstance(surface, _GroupSurface)]
    return [group for group in found if group is not None]
