"""Events: a service publishes them, and others subscribe to them."""

from trellis_nats.events.envelope import ReceivedEvent
from trellis_nats.events.groups.event_handler import DeliveredEvent
from trellis_nats.events.groups.group import ConsumerGroup, GroupEvent
from trellis_nats.events.publisher import EventChannel, EventOutlet, EventPublisher, PublishedEvent
from trellis_nats.events.source import EventSource, EventSubscription

__all__ = [
    "ConsumerGroup",
    "DeliveredEvent",
    "EventChannel",
    "EventOutlet",
    "EventPublisher",
    "EventSource",
    "EventSubscription",
    "GroupEvent",
    "PublishedEvent",
    "ReceivedEvent",
]
