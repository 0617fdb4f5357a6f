"""`trellis audit export`: samples of real payloads, without what may be secret."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._versions import digest_line
from trellis_nats.jobs.model.states import EventType
from trellis_nats.testing import NatsServer

from tests.support.audited import ONCE, Till
from tests.support.foreign_events import foreign_body
from tests.support.generated import generated
from tests.support.generator import run_generator
from tests.support.trellis_command import Ended, run_trellis_here

SECRET = "s3cr3t"  # noqa: S105 - what must not be seen
MANIFEST: dict[str, Any] = {  # Any: JSON
    "format": "trellis.contract.v1",
    "id": "cards@v1",
    "displayName": "Cards",
    "description": "Charges cards.",
    "kind": "service",
    "schemas": {
        "Charge": {
            "type": "object",
            "properties": {
                "amount": {"type": "integer"},
                "note": {"type": "string"},
                "card": {
                    "type": "object",
                    "properties": {
                        "number": {"type": "string", "pattern": "^[0-9]{16}$", "x-sensitive": True},
                        "kind": {"enum": ["visa", "other"]},
                    },
                    "required": ["number"],
                },
            },
            "required": ["amount"],
        },
        "Odd": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "pattern": "^[^a-zA-Z0 _.:/@-][0-9]b$|^a1b$", "x-sensitive": True}
            },
        },
    },
    "jobs": {"charge": {"payload": {"schema": "Charge"}}, "odd": {"payload": {"schema": "Odd"}}},
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "cards.json"
    path.write_text(json.dumps(MANIFEST))
    return path


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the folder of the package that is generated from the manifest."""
    module, _ = generated(MANIFEST, tmp_path)
    return Path(str(module.__file__)).parent


async def store(
    till: Till, job_id: str, payload: JsonValue, *, queue: str = "charge", digest: str = ""
) -> None:
    body = foreign_body(EventType.CREATED, job_id, {"payload": payload, "service": "cards"}, queue=queue)
    subject = f"trellis.jobs.cards.{queue}.{job_id}.created"
    data = json.dumps(body).encode()
    await publish_acked(till.runtime.connection, subject, data, headers=digest_line(digest))


async def fill(server: NatsServer) -> None:
    async with Till.connect(server.url, options=ONCE) as till:
        for number in range(40):
            card: JsonValue = {"number": f"4111111111{number:06}", "kind": "visa"}
            await store(till, f"c{number}", {"amount": number, "card": card, "note": SECRET}, digest="a" * 43)
        await store(till, "other-writer", {"amount": 1, "card": {"number": "1" * 16}}, digest="b" * 43)
        await store(till, "other-shape", {"amount": 1})
        await store(till, "refused", {"amount": "1", "discount": SECRET})
        await store(till, "not-json", float("nan"))


async def export(server: NatsServer, against: Path, folder: Path, *options: str | Path) -> Ended:
    url = ("--server", server.url)
    return await run_trellis_here("audit", "export", folder, "--against", against, *url, *options)


def samples_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


async def test_samples_cover_what_differs_and_have_no_secrets(
    nats_server: NatsServer, manifest: Path, package: Path, tmp_path: Path
) -> None:
    await fill(nats_server)
    options = ("--sample", "5", "--redact", "--redact-pointer", "/note")

    first = await export(nats_server, manifest, tmp_path / "one", *options)
    second = await export(nats_server, package, tmp_path / "two", *options)
    again = await export(nats_server, package, tmp_path / "one", *options)

    assert (first.code, first.error) == (0, ""), first.out
    assert "5 samples of 44 jobs written to" in first.out
    assert "1 job has no payload that can be exported" in first.out
    samples = samples_of(tmp_path / "one")
    texts = {path.name: path.read_text() for path in (tmp_path / "one").iterdir()}
    assert texts == {path.name: path.read_text() for path in (tmp_path / "two").iterdir()}
    assert "0 samples" in again.out
    assert second.code == again.code == 0
    assert SECRET not in "".join(texts.values())
    assert "4111" not in "".join(texts.values())
    assert {(sample["digest"], sample["valid"]) for sample in samples} == {
        ("a" * 43, True),
        ("b" * 43, True),
        (None, True),
        (None, False),
    }
    (refused,) = (sample for sample in samples if not sample["valid"])
    assert refused["payload"] == {"amount": "1", "discount": "redacted"}
    assert refused == {
        "version": 1,
        "contract": "cards@v1",
        "digest": None,
        "kind": "payload",
        "name": "charge",
        "event": "created",
        "state": "waiting",
        "valid": False,
        "wasValid": False,
        "redacted": ["/discount"],
        "payload": refused["payload"],
    }
    carded = [sample for sample in samples if sample["digest"] == "a" * 43]
    assert [sample["payload"]["card"] for sample in carded] == [{"number": "0" * 16, "kind": "visa"}] * 2
    assert carded[0]["redacted"] == ["/card/number", "/note"]


async def test_exported_samples_are_read_with_a_later_contract(
    nats_server: NatsServer, manifest: Path, package: Path, tmp_path: Path
) -> None:
    """The comparison says that a new optional member breaks nothing. The samples know that it is sent already."""
    async with Till.connect(nats_server.url, options=ONCE) as till:
        for number in range(9):
            await store(till, f"j{number}", {"amount": 1, "discount": f"{SECRET} {number}"})
    await export(nats_server, package, tmp_path / "samples", "--sample", "3")
    later = json.loads(json.dumps(MANIFEST))
    later["schemas"]["Charge"]["properties"]["discount"] = {"type": "integer"}
    write(tmp_path / "later.json", later)
    both = (manifest, tmp_path / "later.json")

    without = await asyncio.to_thread(run_generator, "breaking", *both)
    result = await asyncio.to_thread(run_generator, "breaking", *both, "--samples", tmp_path / "samples")
    same = await asyncio.to_thread(
        run_generator, "breaking", manifest, manifest, "--samples", tmp_path / "samples"
    )

    assert (without.exit_code, result.exit_code, same.exit_code) == (0, 1, 0)
    assert "SAMPLE_REFUSED" in result.stdout
    assert '"discount": "redacted"' in result.stdout


def write(path: Path, contract: dict[str, Any]) -> None:
    path.write_text(json.dumps(contract))


async def test_nothing_is_replaced_if_that_is_asked(
    nats_server: NatsServer, package: Path, tmp_path: Path
) -> None:
    await fill(nats_server)

    result = await export(nats_server, package, tmp_path / "raw", "--sample", "1", "--no-redact")

    (sample,) = samples_of(tmp_path / "raw")
    assert result.code == 0
    assert sample["redacted"] == []


async def test_a_pointer_that_names_nothing_is_said(
    nats_server: NatsServer, package: Path, tmp_path: Path
) -> None:
    await fill(nats_server)
    pointers = ("/note", "/nota", "/card/number/0", "/card/kid", "/a~1b")
    options = [part for pointer in pointers for part in ("--redact-pointer", pointer)]

    result = await export(nats_server, package, tmp_path / "out", "--sample", "5", *options)

    assert result.code == 0
    assert [line.split()[1] for line in result.out.splitlines() if "names nothing" in line] == [
        "/nota",
        "/card/kid",
        "/a~1b",
    ]


async def test_a_placeholder_that_does_not_fit_is_said(
    nats_server: NatsServer, package: Path, tmp_path: Path
) -> None:
    async with Till.connect(nats_server.url, options=ONCE) as till:
        await store(till, "j", {"code": "a1b"}, queue="odd")

    result = await export(nats_server, package, tmp_path / "odd", "--sample", "1")

    (sample,) = samples_of(tmp_path / "odd")
    assert (result.code, sample["wasValid"], sample["valid"]) == (0, True, False)
    assert sample["payload"] == {"code": "redacted"}
    assert "a placeholder does not fit the schema" in result.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sample", "0"), "--sample"),
        ((), "--sample"),
        (("--sample", "1", "--redact-pointer", "card"), "is not a JSON pointer"),
        (
            ("--sample", "1", "--redact-pointer", "/note", "--no-redact"),
            "nothing is replaced with --no-redact",
        ),
    ],
)
async def test_mistakes_are_explained(
    nats_server: NatsServer, package: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    result = await export(nats_server, package, tmp_path / "out", *options)

    assert (result.code, result.out) == (2, "")
    assert words in result.error
    assert "Traceback" not in result.error


async def test_a_folder_that_cannot_be_written_is_named(
    nats_server: NatsServer, package: Path, tmp_path: Path
) -> None:
    await fill(nats_server)
    (tmp_path / "file").write_text("")

    result = await export(nats_server, package, tmp_path / "file" / "samples", "--sample", "1")

    assert (result.code, result.out) == (2, "")
    assert "cannot be written" in result.error
