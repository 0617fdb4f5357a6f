"""Says why a value is refused, in a form that can be counted: the rule, and the place without indexes and names of senders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple, cast

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from trellis_nats._support.union_labels import LABEL_UNIONS
from trellis_nats.codec import encode_json, list_issues
from trellis_nats.errors import InvalidPayload

__all__ = ["MALFORMED", "Classifier", "Failure"]

_REASONS: Final = 5
"""How many reasons of one value count."""
_LISTED: Final = 10_000
"""A value that is wrong in more places has one issue, without a type."""
_KNOWN: Final = 10_000
"""How many combinations of reasons are remembered, so that a value like an earlier one is not validated again."""


class Failure(NamedTuple):
    """A reason why values are refused."""

    kind: str
    """The type of pydantic's error, such as `missing`; or `malformed`, `not_json`, `concurrency_key` or `upcast_failed`."""
    place: str
    """A JSON pointer with `*` for indexes and for names that the schema does not declare; empty for the whole value."""
    text: str


MALFORMED: Final = Failure("malformed", "", "it is not a job of this queue; a worker removes it")


class Classifier:
    """Finds the reasons for one type."""

    def __init__(self, shape: object) -> None:
        # The type is an expression that pydantic understands; before Python 3.15 (PEP 747) no annotation describes one.
        self._adapter: TypeAdapter[object] = TypeAdapter(cast("type[object]", Annotated[shape, LABEL_UNIONS]))
        self._declared = _declared_names(self._adapter)
        self._known: dict[tuple[tuple[str, str], ...], tuple[Failure, ...]] = {}

    def classify(
        self, error: InvalidPayload, value: JsonValue, *, otherwise: str = "not_json"
    ) -> tuple[Failure, ...]:
        """Return the first reasons for which a value is refused: at least one, each once.

        Args:
            error: what reading the value raised.
            value: the value.
            otherwise: the kind of a reason that the type itself does not give.
        """
        issues = error.issues[:_REASONS]
        found = self._known.get(issues)
        if found is None:
            kinds = self._find_kinds(value)
            failures = (
                Failure(kinds.get(issue, otherwise), self._normalize(issue[0]), issue[1]) for issue in issues
            )
            found = tuple({(failure.kind, failure.place): failure for failure in failures}.values())
            if len(self._known) < _KNOWN:
                self._known[issues] = found
        return found

    def _find_kinds(self, value: JsonValue) -> dict[tuple[str, str], str]:
        """Return pydantic's type of each error, by the issue of `InvalidPayload` that it becomes."""
        try:
            self._adapter.validator.validate_json(encode_json(value), strict=True)
        except ValidationError as error:
            if error.error_count() > _LISTED:
                return {}
            details = error.errors(include_url=False, include_context=False, include_input=False)
            return dict(zip(list_issues(error), (detail["type"] for detail in details), strict=False))
        except ValueError:
            pass
        return {}

    def _normalize(self, place: str) -> str:
        steps = place.removeprefix("#").split("/")[1:]
        return "".join(f"/{step if self._is_declared(step) else '*'}" for step in steps)

    def _is_declared(self, step: str) -> bool:
        return step.replace("~1", "/").replace("~0", "~") in self._declared


def _declared_names(adapter: TypeAdapter[object]) -> frozenset[str]:
    """Return the names of all members that a type declares, at any depth."""
    try:
        return frozenset(_property_names(adapter.json_schema()))
    except PydanticInvalidForJsonSchema:
        return frozenset()


def _property_names(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for item in cast("list[object]", node):
            yield from _property_names(item)
    elif isinstance(node, dict):
        members = cast("dict[str, Any]", node)  # Any: JSON Schema
        properties = members.get("properties")
        if isinstance(properties, dict):
            yield from cast("dict[str, object]", properties)
        for child in members.values():
            yield from _property_names(child)
