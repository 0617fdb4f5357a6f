"""Prints a page of jobs: a table, ids, CSV or JSON."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from trellis_admin.operator import Operator

__all__ = ["AsCsv", "AsIds", "SortOption", "list_matching"]

AsIds = Annotated[bool, typer.Option("--ids", help="Print ids only, one a line: for xargs.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Order = Literal["newest", "oldest", "changed"]
SortOption = Annotated[
    Order,
    typer.Option("--sort", help="By creation, the newest or oldest first, or by the newest change of state."),
]


async def list_matching(
    operator: Operator,
    query: str,
    *,
    command: str,
    limit: int,
    at: int | None,
    before: int | None,
    sort: Order,
    usual: Order,
    as_ids: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print the jobs that match. Where there are more, say on stderr how to get them. `usual` is the order without `--sort`."""
    from trellis_nats.clock import now

    from trellis_admin.queries import Sort
    from trellis_admin.terminal import print_json, print_table, print_text
    from trellis_admin.texts.job_lists import describe_page, job_csv, tabulate_jobs

    if as_ids + as_csv + as_json > 1:
        raise typer.BadParameter("choose one of --ids, --csv and --json", param_hint="--json")
    selection = await operator.select(query, at=at)
    page = await operator.jobs(selection.filter, at=selection.at, before=before, limit=limit, sort=Sort(sort))
    if as_json:
        print_json("jobs", {"filter": selection.filter.text, "page": page})
        return
    if as_ids:
        if page.rows:
            print_text("\n".join(row.id for row in page.rows))
    elif as_csv:
        print_text(job_csv(page.rows))
    elif page.rows:
        print_table(tabulate_jobs(page.rows, now()))
    again = " ".join([command, *(quote(term.text) for term in selection.filter.terms), f"--limit {limit}"])
    again += "" if sort == usual else f" --sort {sort}"
    typer.echo(describe_page(page, again), err=True)
