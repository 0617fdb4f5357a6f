"""`trellis callers`: the keys that may call a service without a control plane."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trellis_admin.commands.operating import AsJson
from trellis_admin.exits import ExitCode

if TYPE_CHECKING:
    from trellis_admin.callers import DeclaredCapabilities
    from trellis_admin.callers.changes import Entry

__all__ = ["app"]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Make session keys, and edit the file that says which of them may call a service.",
)

File = Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The file of callers.")]
Caller = Annotated[
    str,
    typer.Argument(
        metavar="CALLER",
        show_default=False,
        help="Its public key, the first 8 characters of it or more, or its name. Write -- before one that begins with -.",
    ),
]
Capabilities = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CAPABILITY]...",
        show_default=False,
        help="Capabilities, as contracts name them: orders-service::orders.write.",
    ),
]
Contracts = Annotated[
    list[str] | None,
    typer.Option(
        "--contract",
        metavar="MANIFEST",
        show_default=False,
        help="A contract, or the folder of a generated package: capabilities are checked against it. Repeat it for several.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be changed, and change nothing.")]


@app.command("new")
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="The program that will sign with it.")
    ],
    key: Annotated[
        Path, typer.Option(metavar="FILE", show_default=False, help="Where the secret is written.")
    ],
    as_json: AsJson = False,
) -> None:
    """Make a session key: write the secret to a file that only you can read, and print the public key.

    Exit codes:
    0: written.
    2: the file cannot be written, or PyNaCl is not installed.
    5: refused: the file exists.
    """
    from trellis_admin.callers import write_key
    from trellis_admin.terminal import print_json, print_text

    made = write_key(key, name)
    if as_json:
        print_json("session-key", {"name": name, "key": made.public, "file": str(key)})
        return
    print_text(made.public)
    typer.echo(
        f"The secret is in {key}. Let it call:\n"
        f"  trellis callers grant callers.json {made.public} --name {quote(name)} CAPABILITY…",
        err=True,
    )


@app.command("show")
def show(file: File, as_json: AsJson = False) -> None:
    """List the callers of a file, and what they may do."""
    from trellis_admin.callers import read
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.callers import describe_callers, tabulate_callers, to_object

    entries = read(file, needs_pynacl=False)
    if as_json:
        print_json("callers", {"callers": [to_object(entry) for entry in entries]})
        return
    if entries:
        print_table(tabulate_callers(entries))
    typer.echo(describe_callers(entries), err=True)


@app.command("grant")
def grant_command(
    file: File,
    caller: Caller,
    capabilities: Capabilities = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of a key that the file does not have yet.")
    ] = None,
    kind: Annotated[
        Literal["service", "user", "device"] | None, typer.Option(help="What it is. Default: service.")
    ] = None,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="For readers of the file.")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="CALLER",
            help="A caller of the file: a new key gets its name, kind and capabilities. Of several keys with the name, the "
            "one that is not disabled.",
        ),
    ] = None,
    contracts: Contracts = None,
    enable: Annotated[bool, typer.Option("--enable", help="Let a key that was revoked call again.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add a key to the file, or give one that it has more capabilities. Services notice within a second.

    Without a capability it may call what demands none. The file is created if it does not exist. Without --contract, the contracts of
    [tool.trellis-gen] in the pyproject.toml of this folder are asked; capabilities of other contracts are not checked, which is said.

    Exit codes:
    0: granted.
    2: the file has errors, the contract has no such capability, or a new key has no name.
    4: the file has no such caller.
    5: refused: the key is disabled, or the file belongs to another user.
    """
    from trellis_admin.callers import CallersProblem, edit, find_project_contracts, grant, read_declared
    from trellis_admin.texts.callers import describe_unchecked

    wanted = capabilities or []
    declared = read_declared(contracts or find_project_contracts(Path.cwd()))
    if problems := declared.find_problems(wanted, only_theirs=not contracts):
        raise CallersProblem("; ".join(problems))
    with edit(file, may_create=True, dry_run=dry_run) as entries:
        entry = grant(
            entries, caller, wanted, name=name, kind=kind, comment=comment, like=like, enable=enable
        )
    _print_changed(entry, dry_run=dry_run, as_json=as_json)
    if unchecked := declared.list_unknown(wanted):
        typer.echo(describe_unchecked(unchecked), err=True)


@app.command("revoke")
def revoke_command(
    file: File,
    caller: Caller,
    capabilities: Capabilities = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the key from the file instead of disabling it.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Do it to every key that has this name, with all its capabilities.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Take capabilities from a caller; without any, disable its key. Services notice within a second.

    Exit codes:
    0: revoked.
    2: the file has errors, or the caller does not have the capability.
    4: the file has no such caller.
    5: refused: the file belongs to another user.
    """
    from trellis_admin.callers import edit, revoke, revoke_all

    for option in ["--remove"] * remove + ["--all"] * every:
        if capabilities:
            raise typer.BadParameter(f"{option} takes no capabilities", param_hint=option)
    with edit(file, dry_run=dry_run) as entries:
        if every:
            changed = revoke_all(entries, caller, remove=remove)
        else:
            changed = [revoke(entries, caller, capabilities or [], remove=remove)]
    _print_changed(*changed, is_every=every, is_removed=remove, dry_run=dry_run, as_json=as_json)


@app.command("check")
def check(file: File, contracts: Contracts = None) -> None:
    """Check a file as a service does, and that contracts have the capabilities which it names.

    Exit codes:
    0: nothing is wrong.
    1: a contract does not have a capability.
    2: the file has errors; all are listed.
    """
    from trellis_admin.callers import read, read_declared
    from trellis_admin.terminal import print_text
    from trellis_admin.texts.callers import describe_callers

    declared = read_declared(contracts or [])
    entries = read(file)
    problems = [problem for entry in entries for problem in _find_problems(entry, declared)]
    print_text("\n".join([*problems, describe_callers(entries)]))
    if problems:
        raise typer.Exit(ExitCode.LEFT)


def _find_problems(entry: Entry, declared: DeclaredCapabilities) -> list[str]:
    found = declared.find_problems(entry.get("capabilities", []), only_theirs=True)
    return [f"{entry['name']}: {problem}" for problem in found]


def _print_changed(
    *entries: Entry, is_every: bool = False, is_removed: bool = False, dry_run: bool, as_json: bool
) -> None:
    from trellis_admin.terminal import print_json, print_text
    from trellis_admin.texts.callers import describe_change, to_object

    if as_json:
        how = {"removed": is_removed, "dryRun": dry_run}
        if is_every:
            print_json("callers", {"callers": [to_object(entry) for entry in entries], **how})
        else:
            print_json("caller", {"caller": to_object(entries[0]), **how})
    else:
        print_text("\n".join(describe_change(entry, is_removed=is_removed) for entry in entries))
    if dry_run:
        typer.echo("a dry run: nothing was written", err=True)
