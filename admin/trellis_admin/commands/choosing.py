"""The options of commands that choose jobs: words of the filter language, with shortcuts for the commonest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

    from trellis_nats import ConfigurationError

    from trellis_admin.operator import Operator
    from trellis_admin.session import JobPlace

__all__ = [
    "DEFAULT_LIMIT",
    "At",
    "Before",
    "Filter",
    "Limit",
    "QueueName",
    "QueueOption",
    "StateOption",
    "choose",
    "complete_queue",
    "find_bulk",
    "find_job",
    "find_prefix",
]

DEFAULT_LIMIT: Final = 50
_SHORTEST_ID: Final = 8
"""Characters of a shortened id: the jobs of about one second begin with the same eight."""
_CANDIDATES: Final = 5
"""How many jobs are named that begin with a shortened id."""
_STATES: Final = [
    "pending",
    "active",
    "retry",
    "completed",
    "failed",
    "cancelled",
    "expired",
    "skipped",
    "stale",
    "dead",
    "dismissed",
]


def complete_queue(incomplete: str) -> list[str]:
    """Return the queues that the newest index on this machine knows, for a shell. The server is not asked.

    The file is opened without the projection, which would import the runtime each time.
    """
    import sqlite3
    from contextlib import closing, suppress

    from trellis_admin.cache import default_folder

    with suppress(Exception):  # a shell that completes must not print an error
        newest = max(default_folder().glob("*.sqlite"), key=lambda path: path.stat().st_mtime)
        with closing(sqlite3.connect(f"{newest.resolve().as_uri()}?mode=ro", uri=True)) as db:
            rows: list[tuple[str]] = db.execute("SELECT name FROM queue ORDER BY name").fetchall()
        return [name for (name,) in rows if name.startswith(incomplete)]
    return []


def _complete_state(incomplete: str) -> list[str]:
    return [state for state in _STATES if state.startswith(incomplete)]


Filter = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILTER]...",
        show_default=False,
        help="Which jobs: word:value pairs, as in state:dead queue:charge-payment created:>-1h error:Timeout arg:order_id=o-1. Words: "
        "id queue service state key error worker contract trace created since actor bulk parent arg. Commas mean or, spaces and.",
    ),
]
QueueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--queue", "-q", metavar="QUEUE", autocompletion=complete_queue, help="Only this queue; repeatable."
    ),
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state", "-s", metavar="STATE", autocompletion=_complete_state, help="Only this state; repeatable."
    ),
]
QueueName = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE",
        autocompletion=complete_queue,
        help="The queue, as queue or service/queue.",
        show_default=False,
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=10_000, metavar="N", help="How many at most.")
]
At = Annotated[
    int | None,
    typer.Option(
        "--at", min=0, metavar="SEQUENCE", help="As it was at this sequence: what changed later is left out."
    ),
]
Before = Annotated[
    int | None,
    typer.Option(
        "--before", min=0, metavar="CURSOR", help="The next page: the command that lists prints it."
    ),
]


async def choose(
    operator: Operator,
    words: Sequence[str] | None = None,
    queues: Sequence[str] | None = None,
    states: Sequence[str] | None = None,
) -> str:
    """Return the filter that arguments and options name together.

    Raises:
        ConfigurationError: a queue has had no job: an empty list would look like good news. The text suggests others.
        FilterProblem: the filter cannot be read.
    """
    from trellis_nats.clock import now

    from trellis_admin.queries import Word, find_queues, parse_filter

    parts = list(words or ())
    if queues:
        parts.append(f"queue:{','.join(queues)}")
    if states:
        parts.append(f"state:{','.join(states)}")
    query = " ".join(parts)
    parsed = parse_filter(query, now())
    for word in parsed.values(Word.TEXT):
        if word in _STATES and f'"{word}"' not in query:
            typer.echo(f'"{word}" is looked for as text; did you mean state:{word}?', err=True)
    for name in parsed.values(Word.QUEUE):
        if not await operator.ask(find_queues, name):
            raise await _unknown_queue(operator, name)
    return query


async def find_prefix(operator: Operator, name: str) -> str:
    """Return the publish prefix of a queue. Raises as `choose`, also where several services have a queue of this name."""
    from trellis_nats import ConfigurationError

    from trellis_admin.queries import find_queues

    found = await operator.ask(find_queues, name)
    if not found:
        raise await _unknown_queue(operator, name)
    if len(found) > 1:
        named = ", ".join(f"{place.service}/{place.name}" for place in found)
        raise ConfigurationError(f'several services have a queue "{name:.200}": name one of {named}')
    return found[0].prefix


async def find_job(operator: Operator, given: str) -> JobPlace:
    """Return the job of an id, which may be shortened where no other one begins with it. So may the id in `<prefix>.<id>`.

    Raises:
        JobNotFound: there is none.
        AmbiguousJob: there are several. The text names them.
    """
    from trellis_nats._support.plural import plural
    from trellis_nats.errors import JobNotFound

    from trellis_admin.queries import find_jobs
    from trellis_admin.session import AmbiguousJob, JobPlace

    try:
        return await operator.session.find(given)
    except JobNotFound as error:
        if ":" in given:
            raise JobNotFound(
                f"{error}. If it is a filter: `trellis jobs list` takes it, and `--matching` of each command that changes jobs"
            ) from None
        too_short = len(given.rpartition(".")[2]) < _SHORTEST_ID
        needed = f"an id may be shortened to {_SHORTEST_ID} characters"
        match await operator.ask(find_jobs, given, limit=_CANDIDATES + 1):
            case []:
                if too_short:
                    raise JobNotFound(f"{error}; {needed}") from None
                raise
            case [row] if not too_short:
                return JobPlace(row.prefix, row.id, None)
            case rows:
                named = ", ".join(f"{row.prefix}.{row.id}" for row in rows[:_CANDIDATES])
                more = " and others" if len(rows) > _CANDIDATES else ""
                if too_short:
                    begin = plural(len(rows), "job begins", "jobs begin") if not more else "jobs begin"
                    raise JobNotFound(f'{needed}; {begin} with "{given}": {named}{more}') from None
                raise AmbiguousJob(
                    f'several jobs begin with "{given}": {named}{more}; write more of the id'
                ) from None


async def find_bulk(operator: Operator, given: str) -> str:
    """Return the id of a bulk action, which may be shortened where no other one begins with it.

    Raises:
        BulkNotFound: there is none.
        AmbiguousJob: there are several. The text names them.
    """
    from trellis_admin.bulk import BulkNotFound
    from trellis_admin.session import AmbiguousJob

    try:
        return (await operator.bulk.read(given)).id
    except BulkNotFound as error:
        if len(given) < _SHORTEST_ID:
            raise BulkNotFound(f"{error}; an id may be shortened to {_SHORTEST_ID} characters") from None
        match [record.id for record in await operator.bulk.list_all() if record.id.startswith(given)]:
            case []:
                raise
            case [found]:
                return found
            case several:
                named = ", ".join(several[:_CANDIDATES])
                raise AmbiguousJob(
                    f'several bulk actions begin with "{given}": {named}; write more of the id'
                ) from None


async def _unknown_queue(operator: Operator, name: str) -> ConfigurationError:
    from difflib import get_close_matches

    from trellis_nats import ConfigurationError

    known = await operator.ask(_list_names)
    near = get_close_matches(name.rpartition("/")[2], known, n=1)
    if near:
        advice = f"did you mean {near[0]}?"
    else:
        advice = f"queues are {', '.join(known[:20])}" if known else "no queue has had one yet"
    return ConfigurationError(f'no queue "{name:.200}" has had a job; {advice}')


def _list_names(db: Connection) -> list[str]:
    rows = db.execute("SELECT DISTINCT name FROM queue ORDER BY name").fetchall()
    return [str(row[0]) for row in rows]
