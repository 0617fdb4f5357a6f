"""Transfers of a service that checks who calls: their messages come from the caller that was granted them, each once."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import ClassVar, Final

import pytest
from trellis_nats import Client, Contract, Options, RpcCall, Runtime, TransferError
from trellis_nats._calls.outgoing import sign_message
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats.auth import SessionKey, Signer
from trellis_nats.codec import decode_json
from trellis_nats.testing import NatsServer
from trellis_nats.transfers import Download
from trellis_nats.transfers.endpoint import rpc_spec
from trellis_nats.transfers.frames import ABANDON_HEADERS, LEAVE_HEADERS, chunk_headers, read_error
from trellis_nats.transfers.grant import TransferGrant
from trellis_nats.transfers.upload_session import UploadSession

from tests.support.callers import OTHER, SHOP, KnownKeys
from tests.support.downloads import WireService
from tests.support.vault import ALL, CONTRACT, FETCH, Thing, running

SOON: Final = timedelta(seconds=5)


async def connect(server: NatsServer, key: SessionKey) -> Connection:
    settings = ConnectionSettings(inbox_prefix=key.inbox_prefix)
    return await Connection.open(server.url, settings=settings)


@pytest.fixture
async def caller(nats_server: NatsServer) -> AsyncIterator[Connection]:
    connection = await connect(nats_server, SHOP)
    yield connection
    await connection.close()


async def test_a_chunk_that_its_caller_has_not_signed_is_refused_and_the_upload_goes_on(
    nats_server: NatsServer, caller: Connection
) -> None:
    async with WireService.connect(nats_server.url) as service:
        session = UploadSession(
            service.runtime, service.uploads, "a", session_key=SHOP.public, is_verified=True
        )
        await service.runtime.connection.flush()
        subject = session.grant.subject

        async def send(signer: Signer | None, data: bytes, *, eof: bool = False) -> str:
            """Send a chunk, and return its status or the reason why it is refused."""
            headers = sign_message(signer, subject, data, chunk_headers(len(accepted), eof=eof))
            return await exchange(data, headers)

        async def exchange(data: bytes, headers: Mapping[str, str]) -> str:
            reply = await request(caller, subject, data, headers=headers, timeout=SOON)
            match decode_json(reply.data):
                case {"status": str(status)}:
                    return status
                case _:
                    return read_error(reply.data, operation="put").reason

        accepted: list[bytes] = []
        assert await send(None, b"unsigned") == "invalid_proof"
        assert await send(Signer(OTHER), b"of another key") == "invalid_proof"
        first = dict(sign_message(Signer(SHOP), subject, b"one", chunk_headers(0)))
        assert await exchange(b"other", first) == "invalid_proof"
        assert await exchange(b"one", first) == "continue"
        accepted.append(b"one")
        assert await exchange(b"one", first | chunk_headers(1)) == "invalid_proof"
        caller.send(subject, b"", headers=ABANDON_HEADERS)
        assert await send(Signer(SHOP), b"two", eof=True) == "complete"
        stored = await service.uploads.get("a")
        assert stored is not None
        assert await stored.read() == b"onetwo"


class FetchClient(Client):
    """A client that gets the grants of downloads."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.fetch: Final = RpcCall[Thing, TransferGrant](runtime, rpc_spec(FETCH))


async def test_only_the_caller_that_was_granted_a_download_gets_it(
    nats_server: NatsServer, caller: Connection
) -> None:
    other = await connect(nats_server, OTHER)
    async with (
        running(nats_server.url, KnownKeys.of(SHOP, OTHER, capabilities=ALL)) as service,
        FetchClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        await service.things.put("a", b"stored")
        grant = await client.fetch(Thing(name="a"))
        assert grant.session_key == SHOP.public

        async def read(connection: Connection, signer: Signer | None) -> bytes:
            return await Download(connection, grant, signer, timeout=SOON).read()

        for connection, signer, reason in (
            (caller, None, "invalid_proof"),
            (other, Signer(OTHER), "invalid_proof"),
            (other, Signer(SHOP), "reply_subject_mismatch"),
        ):
            with pytest.raises(TransferError) as refused:
                await read(connection, signer)
            assert refused.value.reason == reason
        other.send(grant.subject, b"", headers=LEAVE_HEADERS)
        # Its last attempt left with a valid signature, which would end a download that has begun.
        await other.flush()
        assert await read(caller, Signer(SHOP)) == b"stored"
    await other.close()
