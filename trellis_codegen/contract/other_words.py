"""What other systems call the members of the format, so that a hint names ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["NOT_IN_CONTRACTS", "OTHER_WORDS", "find_advice", "find_own_word", "suggest_own_word"]

_OF_A_QUEUE: Final = "keyConcurrency"
"""A member that only queues have."""
_ATTEMPTS: Final = "which counts the first attempt too"
_LEASE: Final = (
    "how soon a dead worker is noticed; `handle(timeout=…)` in Python limits how long a handler runs"
)
_WAITS: Final = "a list of the waits between attempts, in milliseconds"
_DOCS: Final = 'as in "docs": {"summary": "…"}'
_KEY: Final = 'as in "keyConcurrency": {"key": ["/customerId"]}'

OTHER_WORDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    **dict.fromkeys(
        (
            "maxattempts",
            "attempts",
            "retries",
            "maxretries",
            "maxtries",
            "maxreceivecount",
            "retrylimit",
            "retrycount",
        ),
        (("maxDeliver", _ATTEMPTS),),
    ),
    **dict.fromkeys(
        ("timeout", "timeoutms", "visibilitytimeout", "acktimeout", "ackwait", "leasems"),
        (("ackWaitMs", _LEASE),),
    ),
    **dict.fromkeys(
        ("delay", "delayms", "backoff", "retrydelay", "retrydelayms", "retrybackoff", "retryafter"),
        (("backoffMs", _WAITS),),
    ),
    **dict.fromkeys(
        ("ttl", "ttlseconds", "expires", "expiresin", "expiry", "maxage"),
        (("ttlMs", ""), ("defaultDeadlineMs", "how long after its creation a job expires")),
    ),
    **dict.fromkeys(("deadline", "deadlinems"), (("defaultDeadlineMs", ""),)),
    **dict.fromkeys(
        ("description", "summary", "comment", "title", "documentation"),
        (("docs", _DOCS), ("description", "")),
    ),
    **dict.fromkeys(
        ("args", "arguments", "params", "parameters", "body", "data", "message", "request"),
        (("payload", ""), ("input", ""), ("event", "")),
    ),
    **dict.fromkeys(("response", "returns", "return", "reply"), (("result", ""), ("output", ""))),
    **dict.fromkeys(("input",), (("payload", ""),)),
    **dict.fromkeys(("payload",), (("event", ""), ("input", ""))),
    **dict.fromkeys(("output",), (("result", ""),)),
    **dict.fromkeys(
        ("workers", "parallelism", "prefetch", "prefetchcount", "maxconcurrency", "maxinflight", "threads"),
        (("concurrency", ""),),
    ),
    **dict.fromkeys(
        ("concurrencykey", "groupkey", "partitionkey", "uniquekey", "lock", "lockkey"),
        (("keyConcurrency", _KEY),),
    ),
    **dict.fromkeys(("topic", "channel", "route", "path", "routingkey"), (("subject", ""),)),
    **dict.fromkeys(("maxsize", "maxbytes", "size"), (("maxObjectBytes", ""), ("maxTotalBytes", ""))),
}
"""A word without case, `-` and `_`: the members that it may mean, in the order of preference, and what else to know about each."""

_TIMEOUT: Final = "`@queue.handle(timeout=…)` in Python limits how long a handler runs"

NOT_IN_CONTRACTS: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("deadletter", "deadletterqueue", "deadletterexchange", "deadletterpolicy", "redrivepolicy", "dlx"),
        "every job without attempts left ends as dead, and an operator can retry it: nothing is to be declared",
    ),
    **dict.fromkeys(("softtimelimit", "timelimit", "jobtimeout", "maxruntime", "executiontimeout"), _TIMEOUT),
    **dict.fromkeys(
        ("ratelimit", "limiter", "throttle"),
        "there is no limit per second: `concurrency` limits the jobs that run at once in a process, `keyConcurrency` those of a key",
    ),
    **dict.fromkeys(
        ("priority", "maxpriority"),
        "there are no priorities: declare a second queue for urgent jobs, with workers of its own",
    ),
    **dict.fromkeys(
        ("ackslate", "acklate", "autoack", "noack"),
        "a job is always acknowledged after its handler has ended: nothing is to be declared",
    ),
    **dict.fromkeys(
        ("cron", "crontab", "schedule", "every", "interval", "repeat"),
        "a program that cron, a timer or a loop starts creates such jobs, with the time in their `idempotency_key`: docs/guides/cron.md",
    ),
    **dict.fromkeys(
        ("unique", "idempotencykey", "dedupe", "deduplication", "taskid", "jobid"),
        "pass an `idempotency_key` to `create`: the queue then has one job for it",
    ),
}
"""A word without case, `-` and `_`, of which a queue has no member: what to do instead."""


def find_advice(word: str) -> str | None:
    """Return what to do instead of a member that other systems have and a queue has not; None if there is no advice."""
    return NOT_IN_CONTRACTS.get(_fold(word))


def find_own_word(word: str, members: Iterable[str]) -> str | None:
    """Return the member that a word of another system means; None if it means none of these."""
    return _find(word, {*members})[0]


def suggest_own_word(word: str, members: Iterable[str]) -> str | None:
    """Return a hint that names the member which a word of another system means, or what to do instead; None if there is none."""
    known = {*members}
    found, note = _find(word, known)
    if found is not None:
        return f'write "{found}"{f", {note}" if note else ""}'
    return find_advice(word) if _OF_A_QUEUE in known else None


def _find(word: str, members: Collection[str]) -> tuple[str | None, str]:
    meanings = OTHER_WORDS.get(_fold(word), ())
    return next((meant for meant in meanings if meant[0] in members), (None, ""))


def _fold(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")
