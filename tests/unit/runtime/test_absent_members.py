"""A member that is absent is not null, wherever the value that lacks it is used."""

from typing import Annotated

import pytest
from trellis_nats import InvalidPayload, Model
from trellis_nats.codec import Codec
from trellis_nats.json_types import NotNull


class Note(Model):
    """May lack its text."""

    text: Annotated[str | None, NotNull] = None


class Letter(Model):
    """Holds such values."""

    notes: list[Note]
    first: Annotated[Note | None, NotNull] = None


LETTERS = Codec[Letter](Letter, what="a letter")


def test_a_value_that_lacks_an_optional_member_is_written_without_it() -> None:
    assert LETTERS.encode(Letter(notes=[Note(), Note(text="hello")])) == b'{"notes":[{},{"text":"hello"}]}'


def test_a_value_that_lacks_an_optional_member_may_be_part_of_another() -> None:
    note = Note()

    assert Letter(notes=[note], first=note).first == Note()


def test_what_was_constructed_without_a_check_is_checked_when_it_is_written() -> None:
    with pytest.raises(InvalidPayload, match="#/notes/0/text: may be absent, but not null"):
        LETTERS.encode(Letter.model_construct(notes=[Note.model_construct(text=None, _fields_set={"text"})]))


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="a letter"):
        LETTERS.encode(Note(text="no letter"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - on purpose
