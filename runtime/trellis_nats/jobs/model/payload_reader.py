"""Reads stored payloads; those that another version of the contract wrote, through the upcasters of their queue. Pure.

Workers, snapshots, tests and audits read payloads through `PayloadReader.read`, so that they agree about each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, NamedTuple, cast

from pydantic import JsonValue, ValidationError

from trellis_nats._support.callables import find_parameter_problem, is_coroutine_function
from trellis_nats._versions import is_digest
from trellis_nats.codec import Codec, decode_json, encode_json, list_issues
from trellis_nats.errors import ConfigurationError, HandlerConflict, InvalidPayload, UpcastFailed
from trellis_nats.jobs.model.event_factory import read_text, shorten
from trellis_nats.jobs.model.type_vars import PayloadT
from trellis_nats.json_types import JsonObject

__all__ = ["PayloadReader", "ReadPayload", "Upcaster"]

Upcaster = Callable[[JsonObject], PayloadT]
"""A function from a payload of another version, as it is stored, to the payload of this version."""

_TEXT_MAX: Final = 1000
"""How much of the text of an upcaster's exception is kept: it may be as large as the payload."""


class ReadPayload(NamedTuple, Generic[PayloadT]):
    """A payload of this version."""

    value: PayloadT
    upcaster: str | None
    """The name of the upcaster that built it; None where the stored payload matches the schema."""


class _Registered(NamedTuple, Generic[PayloadT]):
    function: Upcaster[PayloadT]
    name: str


class PayloadReader(Generic[PayloadT]):
    """Reads the payloads of one queue. It needs no connection."""

    def __init__(self, codec: Codec[PayloadT], *, queue: str, digest: str) -> None:
        """Prepare.

        Args:
            codec: of the payloads of this version.
            queue: the queue's name in the contract.
            digest: that of this version of the contract.
        """
        self._codec = codec
        self._queue = queue
        self._digest = digest
        self._by_digest: dict[str, _Registered[PayloadT]] = {}
        self._by_shape: _Registered[PayloadT] | None = None

    @property
    def digest(self) -> str:
        """The digest of this version of the contract."""
        return self._digest

    @property
    def shape(self) -> object:
        """The type of the payloads, as an expression that pydantic understands."""
        return self._codec.shape

    @property
    def upcast_versions(self) -> frozenset[str]:
        """The digests for which an upcaster is registered."""
        return frozenset(self._by_digest)

    def register(self, function: Upcaster[PayloadT], *, from_digest: str | None) -> None:
        """Register an upcaster: for one version, or, without a digest, for the payloads that do not match the schema.

        Raises:
            HandlerConflict: there is one already.
            ConfigurationError: it is not a plain function, or the digest is not one of another version.
        """
        named = _Registered(function, getattr(function, "__name__", repr(function)))
        what = f'queue "{self._queue}": the upcaster {named.name}'
        if not callable(function):
            raise ConfigurationError(f"{what} cannot be called")
        if is_coroutine_function(function):
            raise ConfigurationError(
                f"{what} must be a plain `def`: it only builds the new payload from the old one, and cannot await"
            )
        problem = find_parameter_problem(function, "old")
        if problem is not None:
            raise ConfigurationError(f"{what} {problem}")
        if from_digest is None:
            if self._by_shape is not None:
                raise HandlerConflict(
                    f"{what} has no from_digest, and neither has {self._by_shape.name}: register one of them"
                )
            self._by_shape = named
            return
        if not isinstance(from_digest, str) or not is_digest(from_digest):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
            raise ConfigurationError(
                f"{what}: from_digest must be the whole digest of a contract, 43 characters, as `trellis-gen digest` prints "
                f"it, got {from_digest!r}"
            )
        if from_digest == self._digest:
            raise ConfigurationError(
                f"{what}: from_digest is the digest of this version of the contract, whose payloads need no upcaster; pass "
                "the digest of the version before, for example `git show main:contract.json | trellis-gen digest -`; if you did, "
                "run `trellis-gen facade`: the package is still of that version"
            )
        if from_digest in self._by_digest:
            other = self._by_digest[from_digest].name
            raise HandlerConflict(f"{what}: {other} is already registered for from_digest {from_digest}")
        self._by_digest[from_digest] = named

    def always_upcasts(self, digest: str) -> bool:
        """Return whether every payload of a version is upcast, even one that matches the schema of this version."""
        return digest in self._by_digest

    def read(self, payload: JsonValue, digest: str) -> ReadPayload[PayloadT]:
        """Return a stored payload as this version has it.

        1. Where an upcaster is registered for the digest, it builds the payload, whether or not the stored one matches
           the schema of this version: it may match, and yet lack what was renamed.
        2. A payload that matches the schema is taken as it is.
        3. Where another version wrote it, or an unknown one, the upcaster without a digest builds it.

        A payload of this version is never upcast.

        Args:
            payload: as it is stored. It is not changed.
            digest: that of the contract that wrote it; empty where that is not known.

        Raises:
            UpcastFailed: the upcaster raised, or did not return a payload of this version.
            InvalidPayload: it does not match the schema, and there is no upcaster for it.
        """
        registered = self._by_digest.get(digest)
        issues: tuple[tuple[str, str], ...] = ()
        if registered is None:
            try:
                return ReadPayload(self._codec.from_json(payload), None)
            except InvalidPayload as error:
                if self._by_shape is None or digest == self._digest:
                    raise
                registered, issues = self._by_shape, error.issues
        try:
            value = self._upcast(registered, payload)
        except _NotUpcastError as problem:
            text, cause = str(problem), problem.__cause__
        else:
            return ReadPayload(value, registered.name)
        raise UpcastFailed(self._codec.what, registered.name, text, issues) from cause

    def upcast_json(self, payload: JsonValue, digest: str) -> JsonValue:
        """Return a stored payload as JSON of this version where it is upcast; else as it is, valid or not."""
        try:
            read = self.read(payload, digest)
        except InvalidPayload:
            return payload
        return payload if read.upcaster is None else self._codec.to_json(read.value)

    def _upcast(self, registered: _Registered[PayloadT], payload: JsonValue) -> PayloadT:
        try:
            old = decode_json(encode_json(payload))  # a copy: the upcaster may change what it is given
        except ValueError as error:
            raise _NotUpcastError(f"cannot be given the payload: {error}") from None
        if not isinstance(old, dict):
            raise _NotUpcastError("takes a JSON object, and the stored payload is not one")
        try:
            returned = registered.function(old)
        except KeyboardInterrupt:
            raise
        except ValidationError as error:
            raise _NotUpcastError(f"raised: {InvalidPayload('what it builds', list_issues(error))}") from None
        except BaseException as error:
            raise _NotUpcastError(
                f"raised {type(error).__name__}: {shorten(read_text(error, _TEXT_MAX))}"
            ) from error
        # Written and read again, it is what a handler gets from the wire, and every schema is checked, nested ones too.
        try:
            value = self._codec.decode(self._codec.write(returned).text)
        except InvalidPayload as error:
            raise _NotUpcastError(f"returned a value of type {type(returned).__name__}: {error}") from None
        # Any: a dict that matches the schema is written like the model. A type checker has seen the types already.
        if not isinstance(returned, cast("type[Any]", type(value))):
            raise _NotUpcastError(
                f"returned a value of type {type(returned).__name__}, not {type(value).__name__}"
            )
        return value


class _NotUpcastError(Exception):
    """Why an upcaster gave no payload."""
