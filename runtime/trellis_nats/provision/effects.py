"""What the change of a setting does to stored values and waiting work, in words. Pure.

Measured on nats-server 2.10 to 2.15: a consumer applies a new ack wait and a new limit at once, also to messages in flight.
"""

from __future__ import annotations

from collections.abc import Mapping

from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._support.plural import plural
from trellis_nats.provision.compare import shown

__all__ = ["consumer_effect", "shrinks", "stream_effect"]

Config = Mapping[str, object]


def shrinks(have: object, want: object) -> bool:
    """Return whether a limit becomes smaller; none, 0 and -1 mean "unlimited"."""
    return _limit(want) < _limit(have)


def stream_effect(name: str, have: Config, want: Config) -> str:
    """Return what another limit does to what a bucket or store holds."""
    is_smaller, limit = shrinks(have.get(name), want.get(name)), shown(name, want)
    match name:
        case "max_msgs_per_subject":
            return (
                f"all but the newest {limit} revisions of each key are deleted"
                if is_smaller
                else f"up to {limit} revisions of each key are kept from now on"
            )
        case "max_age":
            return (
                f"what is older than {limit} is deleted"
                if is_smaller
                else "what is stored now is kept longer too"
            )
        case "max_msg_size":
            return (
                f"larger values than {limit} bytes are refused from now on; those stored stay"
                if is_smaller
                else "larger values are accepted from now on"
            )
        case _:
            return (
                "writes are refused while it holds more than that; what is stored stays"
                if is_smaller
                else "more may be stored"
            )


def consumer_effect(name: str, info: ConsumerInfo, want: Config) -> str:
    """Return what another setting of a consumer does to the messages that it holds."""
    load = f"{plural(info.ack_pending, 'message is', 'messages are')} in progress, {plural(info.pending, 'waits', 'wait')}"
    match name:
        case "ack_wait":
            is_shorter = shrinks(info.config.get(name), want.get(name))
            text = f"applies at once: a dead worker is noticed after {shown(name, want)}"
            return (
                f"{text}; until the workers notice, within 30 s, what they run may be redelivered; {load}"
                if is_shorter
                else f"{text}; nothing is redelivered; {load}"
            )
        case "max_ack_pending":
            return (
                f"nothing is redelivered, and nothing is delivered until fewer are in progress; {load}"
                if _limit(want.get(name)) <= info.ack_pending
                else f"applies at once; {load}"
            )
        case _:
            return "the server cannot change it: it applies only when a consumer is created, and this one already has its position"


def _limit(value: object) -> float:
    return value if isinstance(value, int) and value > 0 else float("inf")
