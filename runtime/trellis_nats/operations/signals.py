"""The signals of one operation: their codecs by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from trellis_nats.clock import parse_timestamp
from trellis_nats.codec import Codec
from trellis_nats.operations.model.record import SignalEntry
from trellis_nats.specs import OperationSignal, OperationSpec

__all__ = ["SignalCodecs"]


class SignalCodecs:
    """Encodes and decodes the signals of one operation."""

    def __init__(self, spec: OperationSpec) -> None:
        # Any: each signal has its own input.
        self._classes: Mapping[str, type[OperationSignal[Any]]] = {each.name: each for each in spec.signals}
        self._codecs: Mapping[str, Codec[Any]] = {
            name: Codec[Any](signal.input_type, what=f'signal "{name}" of operation "{spec.name}"')
            for name, signal in self._classes.items()
        }

    def __contains__(self, name: object) -> bool:
        return name in self._classes

    def validate(self, name: str, value: JsonValue) -> None:
        """Check the input of a signal.

        Raises:
            InvalidPayload: it does not match its schema.
        """
        self._codecs[name].from_json(value)

    def encode(self, signal: type[OperationSignal[Any]], value: object) -> JsonValue:
        """Encode the input of a signal.

        Raises:
            InvalidPayload: it does not match its schema.
        """
        return self._codecs[signal.name].to_json(value)

    def read(self, entry: SignalEntry) -> OperationSignal[Any] | None:
        """Read an accepted signal. None: the contract no longer has it, or its schema has changed.

        Raises:
            InvalidPayload: its input does not match its schema.
        """
        signal = self._classes.get(entry.signal)
        if signal is None:
            return None
        return signal(
            input=self._codecs[entry.signal].from_json(entry.input),
            sequence=entry.sequence,
            accepted_at=parse_timestamp(entry.accepted_at),
        )
