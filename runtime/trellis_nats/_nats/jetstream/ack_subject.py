"""The reply subject of a message that a consumer delivers: what it says about the message."""

from __future__ import annotations

from typing import Final

__all__ = ["ACK_PREFIX", "IN_PROGRESS", "consumer_of", "split_ack_subject"]

ACK_PREFIX: Final = "$JS.ACK."
IN_PROGRESS: Final = b"+WPI"
"""Sent to a message's reply subject, by any connection of the account, it restarts the message's ack wait."""

_TOKENS: Final = 9
"""`$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`"""
_DOMAIN_TOKENS: Final = 11
"""Newer servers add the domain and the account's hash after `ACK`, and some a random token at the end."""


def split_ack_subject(reply: str) -> list[str]:
    """Return the five numbers of a reply subject, as text: this runs for every message.

    They are: how often the message has been delivered, this time included; its sequence in the stream; the deliveries
    of the consumer so far, this one included; when the stream stored the message, in nanoseconds since 1970; and how
    many messages the consumer has still to deliver.

    Raises:
        ValueError: it is not a reply subject of JetStream.
    """
    tokens = reply.split(".")
    count = len(tokens)
    if count == _TOKENS:
        return tokens[4:9]
    if count >= _DOMAIN_TOKENS:
        return tokens[6:11]
    raise ValueError(f'"{reply}" is not an ack subject')


def consumer_of(reply: str) -> tuple[str, str]:
    """Return the stream and the consumer that a reply subject of JetStream names."""
    tokens = reply.split(".")
    stream, consumer = tokens[2:4] if len(tokens) == _TOKENS else tokens[4:6]
    return stream, consumer
