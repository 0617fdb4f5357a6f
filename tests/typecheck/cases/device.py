"""The state of a device, as the guide has it, and what its users get wrong: the marked lines must be refused."""

from datetime import timedelta
from typing import assert_type

from device_package import FirstPref, GadgetClient, Note, OldNote, Pref
from trellis_nats import OldStateEntry, StateConflict, StateEntry


async def migrate(client: GadgetClient) -> Pref:
    entry = await client.state.prefs.get()
    assert_type(entry, StateEntry[Pref] | OldStateEntry[FirstPref] | None)
    match entry:
        case None:
            entry = await client.state.prefs.create(Pref(theme="dark", size=1), ttl=timedelta(days=1))
        case OldStateEntry():
            assert_type(entry.value, FirstPref)
            entry = await client.state.prefs.update(entry, Pref(theme=entry.value.theme, size=1))
        case StateEntry():
            pass
    assert_type(entry, StateEntry[Pref])
    return entry.value


async def without_versions(client: GadgetClient) -> str:
    note = await client.state.last_note.get()
    assert_type(note, StateEntry[Note] | None)
    written = await client.state.drafts.put("a", Note(text="x"))
    assert_type(written, StateEntry[Note])
    async for entry in client.state.drafts.list("a"):
        assert_type(entry, StateEntry[Note])
        await client.state.drafts.update(entry, Note(text=entry.value.text))
        assert_type(await client.state.drafts.delete(entry.key, entry=entry), bool)
    async for each in client.state.field_notes.list():
        assert_type(each, StateEntry[Note] | OldStateEntry[OldNote])
    try:
        await client.state.last_note.create(Note(text="x"))
    except StateConflict as conflict:
        assert_type(conflict.current, object)
    return written.key


async def wrong_types(client: GadgetClient, prefs: StateEntry[Pref]) -> str:
    await client.state.prefs.put(Note(text="x"))  # refused
    await client.state.prefs.put(FirstPref(theme="dark"))  # refused
    await client.state.prefs.get("a")  # refused
    await client.state.drafts.get()  # refused
    await client.state.drafts.put(Note(text="x"))  # refused
    await client.state.drafts.put("a", Note(text="x"), ttl=60)  # refused
    await client.state.last_note.update(prefs, Note(text="x"))  # refused
    client.state.last_note.list()  # refused
    client.jobs.create()  # refused
    client.state.last_note = client.state.last_note  # refused
    note = await client.state.last_note.get()
    return note.value.text  # refused
