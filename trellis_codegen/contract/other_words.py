"""What other systems call the members of the format, so that a hint names ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

__all__ = ["OTHER_WORDS", "find_own_word", "suggest_own_word"]

_ATTEMPTS: Final = "which counts the first attempt too"
_LEASE: Final = "how soon a dead worker is noticed; a handler that runs has no limit"
_WAITS: Final = "a list of the waits between attempts, in milliseconds"
_DOCS: Final = 'as in "docs": {"summary": "…"}'
_KEY: Final = 'as in "keyConcurrency": {"key": ["/customerId"]}'

OTHER_WORDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    **dict.fromkeys(
        ("maxattempts", "attempts", "retries", "maxretries", "maxtries", "retrylimit", "retrycount"),
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
    **dict.fromkeys(("output",), (("result", ""),)),
    **dict.fromkeys(
        ("workers", "parallelism", "prefetch", "prefetchcount", "maxconcurrency", "maxinflight", "threads"),
        (("concurrency", ""),),
    ),
    **dict.fromkeys(
        ("concurrencykey", "groupkey", "partitionkey", "uniquekey", "lock", "lockkey"),
        (("keyConcurrency", _KEY),),
    ),
    **dict.fromkeys(("deadletter", "deadletterqueue", "deadletterexchange", "dlx"), (("dlq", ""),)),
    **dict.fromkeys(("topic", "channel", "route", "path", "routingkey"), (("subject", ""),)),
    **dict.fromkeys(("maxsize", "maxbytes", "size"), (("maxObjectBytes", ""), ("maxTotalBytes", ""))),
}
"""A word without case, `-` and `_`: the members that it may mean, in the order of preference, and what else to know about each."""


def find_own_word(word: str, members: Iterable[str]) -> str | None:
    """Return the member that a word of another system means; None if it means none of these."""
    return _find(word, {*members})[0]


def suggest_own_word(word: str, members: Iterable[str]) -> str | None:
    """Return a hint that names the member which a word of another system means; None if it means none of these."""
    found, note = _find(word, {*members})
    return None if found is None else f'write "{found}"{f", {note}" if note else ""}'


def _find(word: str, members: Collection[str]) -> tuple[str | None, str]:
    folded = word.casefold().replace("_", "").replace("-", "")
    return next((meant for meant in OTHER_WORDS.get(folded, ()) if meant[0] in members), (None, ""))
