"""`trellis audit-log`: every change and every look at a payload, with its actor and reason."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from trellis_admin.commands.choosing import DEFAULT_LIMIT, Before, Limit
from trellis_admin.commands.operating import AsJson, operated

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@operated
async def audit_log(
    operator: Operator,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILTER]...",
            show_default=False,
            help="Which entries: actor:anna action:replay,dismiss kind:bulk outcome:refused since:7d, and words of reasons and targets.",
        ),
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
    as_json: AsJson = False,
) -> None:
    """Print who changed or saw what, the newest first. Nothing in it can be edited; it is kept for 400 days."""
    from trellis_admin.terminal import print_json, print_table
    from trellis_admin.texts.bulk_actions import tabulate_audit

    query = " ".join(words or ())
    page = await operator.audit_log(query, before=before, limit=limit)
    if as_json:
        print_json("audit-log", {"filter": query, "page": page})
        return
    if page.entries:
        print_table(tabulate_audit(page.entries))
    else:
        typer.echo("no entry matches", err=True)
    if page.older is not None:
        asked = " ".join(map(quote, words or ()))
        typer.echo(
            f"more: trellis audit-log {asked}{' ' if asked else ''}--limit {limit} --before {page.older}",
            err=True,
        )
