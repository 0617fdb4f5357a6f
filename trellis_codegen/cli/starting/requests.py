"""One run of `trellis-gen init`, as the user requested it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trellis_codegen.cli.requests import Format

__all__ = ["InitRequest", "Template"]


class Template(StrEnum):
    """What the new project is."""

    JOBS = "jobs"
    """A service with two job queues."""
    RPC = "rpc"
    """A service with RPCs, one of which creates a job."""
    CLIENT = "client"
    """A program that calls a service, whose contract exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InitRequest:
    """What the command line gives; None for what it does not."""

    name: str | None = None
    """The name of the project."""
    template: Template | None = None
    out: Path | None = None
    """The folder of the project."""
    contract: Path | None = None
    """The manifest of the service that a client calls."""
    is_preview: bool = False
    """Write nothing, and list the files."""
    may_ask: bool = True
    """Whether to ask on a terminal for what is not given."""
    format: Format = Format.TEXT
    quiet: bool = False
