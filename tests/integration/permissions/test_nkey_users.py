"""Users with nkeys, as docs/guides/security.md configures them, and one that is added while the server runs."""

from __future__ import annotations

import importlib
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from trellis_nats import CannotConnect, Credentials, Options, Permissions, permissions
from trellis_nats.testing import NatsServer

from tests.support.depot import Depot, DepotClient
from tests.support.eventually import eventually

nkeys: Final[Any] = importlib.import_module("nkeys")  # its types are not those that it has


def make_user(file: Path) -> tuple[Options, str]:
    """Write the seed of a new nkey, and return the options that log in with it, and its public part."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    file.write_bytes(seed)
    options = Options(
        credentials=Credentials(nkey_seed_file=file), connect_timeout=timedelta(seconds=5), provision="off"
    )
    return options, nkeys.from_seed(seed).public_key.decode()


def accounts(users: dict[str, Permissions]) -> str:
    listed = "\n".join(f"{{ nkey: {key}, {allowed.to_config()} }}" for key, allowed in users.items())
    return f"accounts {{ APP {{ jetstream: enabled, users: [\n{listed}\n] }} }}"


async def test_a_user_with_an_nkey_is_added_by_a_reload(tmp_path: Path) -> None:
    depot, depot_key = make_user(tmp_path / "depot.nk")
    shop, shop_key = make_user(tmp_path / "shop.nk")
    users = {depot_key: permissions(Depot, "worker") | permissions(Depot, "provisioner")}

    async with NatsServer(config=accounts(users)) as server, Depot.connect(server.url, options=depot):

        async def may_log_in() -> bool:
            try:
                async with DepotClient.connect(server.url, options=shop):
                    return True
            except CannotConnect:
                return False

        assert not await may_log_in()
        users[shop_key] = permissions(DepotClient, "client")
        file = server.store / "server.conf"
        file.write_text(file.read_text().partition("accounts {")[0] + accounts(users))
        os.kill(server.pid, signal.SIGHUP)
        await eventually(may_log_in)
