"""A device with a store of each kind, in two versions, as trellis-gen would write them."""

from __future__ import annotations

from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    Client,
    Contract,
    Model,
    OldStateEntry,
    Runtime,
    StateMap,
    StateSpec,
    StateValue,
)

from tests.support.state_service import StoreRules

__all__ = ["NEW_RULES", "OLD_RULES", "Gadget", "NewGadget", "Note", "Pref", "SizedPref"]

OLD_RULES: Final = {"prefs": StoreRules(is_map=False), "notes": StoreRules(is_map=True)}
NEW_RULES: Final = {"prefs": StoreRules(is_map=False, version="v2"), "notes": StoreRules(is_map=True)}


class Pref(Model):
    """The value of the first version."""

    theme: str


class SizedPref(Model):
    """The value of the second version."""

    theme: str
    size: int


class Note(Model):
    """A value of the map."""

    text: str


NOTES: Final = StateSpec(name="notes", value=Note)


class Gadget(Client):
    """The device."""

    contract: ClassVar[Contract] = Contract(
        id="wire-gadget@v1", digest="g" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.prefs: Final = StateValue[Pref](runtime, StateSpec(name="prefs", value=Pref))
        self.notes: Final = StateMap[Note](runtime, NOTES)


class NewGadget(Client):
    """The device, with the second version of its preferences."""

    contract: ClassVar[Contract] = Contract(
        id="wire-gadget@v1", digest="h" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.prefs: Final = StateValue[SizedPref, OldStateEntry[Pref]](
            runtime, StateSpec(name="prefs", value=SizedPref, version="v2", accepted={"v1": Pref})
        )
        self.notes: Final = StateMap[Note](runtime, NOTES)
