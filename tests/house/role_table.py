"""Writes the table "what each role may do" of the guide to security, from what `permissions` returns.

`python -m tests.house.role_table` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from trellis_nats import Client, Permissions, Service, permissions
from trellis_nats.grants import Role
from trellis_nats.permissions.config import covers

from tests.house.sources import ROOT
from tests.support.depot import Depot, DepotClient
from tests.support.desk import DeskService
from tests.support.gadget import Gadget

__all__ = ["PAGE", "role_table"]

PAGE: Final[Path] = ROOT / "docs/guides/security.md"
_ROLES: Final[tuple[Role, ...]] = (
    *("worker", "producer", "operator", "viewer", "auditor", "provisioner", "client"),
)
Direction = Literal["publish", "subscribe"]


@dataclass(frozen=True, slots=True)
class _Row:
    what: str
    subject: str
    """One that a program uses for it."""
    direction: Direction = "publish"
    service: type[Service] = Depot
    client: type[Client] = DepotClient


_JOB: Final = "trellis.jobs.depot.pack.J1"
_ROWS: Final = (
    _Row("create jobs", f"{_JOB}.created"),
    _Row("cancel jobs", f"{_JOB}.cancelled"),
    _Row("follow the events of its jobs", "trellis.jobs.depot.pack.*.*", "subscribe"),
    _Row("read its jobs, with payloads", f"$JS.API.DIRECT.GET.JOBS.{_JOB}.>"),
    _Row("read the jobs of all services", "$JS.API.CONSUMER.CREATE.JOBS.one.trellis.jobs.>"),
    _Row("run jobs", "$JS.API.CONSUMER.MSG.NEXT.JOBS_WORK.depot__pack"),
    _Row("retry, replay, dismiss jobs", f"{_JOB}.dismissed"),
    _Row("pause queues", "$KV.JOBS_KEYS_depot.pause.pack"),
    _Row("purge the histories of ended jobs", "$JS.API.STREAM.PURGE.JOBS"),
    _Row("serve RPCs", "rpc.v1.Orders.Create", "subscribe"),
    _Row("call RPCs", "rpc.v1.Orders.Create"),
    _Row("serve feeds", "feeds.v1.Live.Count", "subscribe"),
    _Row("open feeds", "feeds.v1.Live.Count"),
    _Row("run operations", "operations.v1.Labels.Print", "subscribe"),
    _Row("start operations", "operations.v1.Labels.Print"),
    _Row("control operations", "operations.v1.Labels.Print.control"),
    _Row("receive uploads, send downloads", "transfer.v1.upload.depot.T1", "subscribe"),
    _Row("upload, download", "transfer.v1.upload.depot.T1"),
    _Row("publish its events", "events.v1.Orders.Shipped"),
    _Row("subscribe to its events", "events.v1.Orders.Shipped", "subscribe"),
    _Row("work event groups", "$JS.API.CONSUMER.MSG.NEXT.trellis.desk__shipped", service=DeskService),
    _Row("call what the contract uses", "rpc.v1.Orders.Create", service=DeskService),
    _Row("read and write its buckets", "$KV.depot_orders.key"),
    _Row("read and write its stores", "$O.depot_labels.C.x"),
    _Row("use its state (apps, devices, agents)", "rpc.v1.State.Put", client=Gadget),
    _Row("publish heartbeats of health", "events.v1.Health.Heartbeat"),
    _Row("ask a control plane who calls", "rpc.v1.Auth.Requests.Validate"),
    _Row("write into the audit log", "trellis.audit.job.cancel.A1.began"),
    _Row("create streams, consumers, buckets", "$JS.API.STREAM.CREATE.KV_depot_orders"),
    _Row("delete streams", "$JS.API.STREAM.DELETE.JOBS"),
)


def role_table() -> str:
    """Return the table."""
    lines = [f"| | {' | '.join(_ROLES)} |", f"|---|{'---|' * len(_ROLES)}"]
    lines += [f"| {row.what} | {' | '.join(_mark(row, role) for role in _ROLES)} |" for row in _ROWS]
    return "\n".join(lines) + "\n"


def _mark(row: _Row, role: Role) -> str:
    package = row.client if role == "client" else row.service
    allowed: Permissions = permissions(package, role, callers="control-plane")
    lines = allowed.publish if row.direction == "publish" else allowed.subscribe
    return "yes" if any(covers(line, row.subject) for line in lines) else ""


if __name__ == "__main__":
    print(role_table(), end="")  # noqa: T201 - the output of the command
