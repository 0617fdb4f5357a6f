"""Words of other systems, and pointers that lead nowhere: a hint names what is meant."""

import pytest
from pydantic import JsonValue

from tests.support.generator import run_generator
from tests.unit.codegen.contracts import contract, job, problems
from trellis_codegen.contract.other_words import NOT_IN_CONTRACTS, OTHER_WORDS, find_own_word
from trellis_codegen.contract.reference import walk_members

MEMBERS = {member.name for member in walk_members()}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("maxAttempts", 'write "maxDeliver", which counts the first attempt too'),
        ("max_retries", 'write "maxDeliver", which counts the first attempt too'),
        ("maxReceiveCount", 'write "maxDeliver", which counts the first attempt too'),
        (
            "timeout",
            'write "ackWaitMs", how soon a dead worker is noticed; `handle(timeout=…)` in Python limits how long a handler runs',
        ),
        (
            "visibilityTimeout",
            'write "ackWaitMs", how soon a dead worker is noticed; `handle(timeout=…)` in Python limits how long a handler runs',
        ),
        ("retryDelay", 'write "backoffMs", a list of the waits between attempts, in milliseconds'),
        ("ttl", 'write "defaultDeadlineMs", how long after its creation a job expires'),
        ("description", 'write "docs", as in "docs": {"summary": "…"}'),
        ("maxDelivr", 'did you mean "maxDeliver"?'),
    ],
)
def test_a_word_of_another_system_is_answered_with_ours(word: str, hint: str) -> None:
    (problem,) = problems(contract(jobs={"keep": {**job(), word: 3}}))

    assert (problem.rule, problem.hint) == ("unknown-field", hint)


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("deadLetterQueue", "every job without attempts left ends as dead"),
        ("soft_time_limit", "`@queue.handle(timeout=…)`"),
        ("timeLimit", "`@queue.handle(timeout=…)`"),
        ("rateLimit", "`concurrency` limits the jobs that run at once"),
        ("priority", "declare a second queue for urgent jobs"),
        ("acks_late", "a job is always acknowledged after its handler has ended"),
        ("cron", "a program that cron, a timer or a loop starts creates such jobs"),
        ("unique", "pass an `idempotency_key` to `create`"),
    ],
)
def test_a_word_without_a_member_is_answered_with_what_to_do_instead(word: str, advice: str) -> None:
    (problem,) = problems(contract(jobs={"keep": {**job(), word: 3}}))

    assert problem.hint is not None
    assert advice in problem.hint
    assert f"that word: {problem.hint}" in run_generator("explain", f"jobs.{word}").stderr


def test_a_bucket_has_another_word_for_ttl() -> None:
    bucket: JsonValue = {"kv": {"cache": {"purpose": "p", "schema": {"schema": "Thing"}, "ttl": 3}}}

    assert [problem.hint for problem in problems(contract(resources=bucket))][-1] == 'write "ttlMs"'


def test_every_word_of_the_table_is_foreign_and_leads_to_a_member() -> None:
    for word, meant in OTHER_WORDS.items():
        assert word == word.casefold()
        assert {member for member, _ in meant} <= MEMBERS, word
        assert find_own_word(word.upper(), MEMBERS) == meant[0][0]
    assert NOT_IN_CONTRACTS.keys().isdisjoint({*OTHER_WORDS, *map(str.casefold, MEMBERS)})


PERSON: JsonValue = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "address"],
}


@pytest.mark.parametrize(
    ("pointer", "rule", "hint"),
    [
        ("/nmae", "pointer-to-nothing", 'did you mean "/name"?'),
        ("/city", "pointer-to-nothing", 'did you mean "/address/city"?'),
        ("/tag", "pointer-to-nothing", None),
        ("/phone", "pointer-to-nothing", None),
    ],
)
def test_a_pointer_to_nothing_is_answered_with_the_nearest_that_can_be_a_key(
    pointer: str, rule: str, hint: str | None
) -> None:
    keyed: JsonValue = {"payload": {"schema": "Person"}, "keyConcurrency": {"key": [pointer]}}
    (problem,) = problems(contract(schemas={"Person": PERSON}, jobs={"keep": keyed}))

    assert (problem.rule, problem.hint) == (rule, hint)


@pytest.mark.parametrize(
    ("member", "required", "what", "hint"),
    [
        (
            {"type": "string"},
            [],
            '"/name" may be absent, and a value without it is refused',
            'list "name" under "required" of its object, which needs "type": "object"',
        ),
        (
            {"type": ["string", "null"]},
            ["name"],
            '"/name" may be null, and a value with null there is refused',
            'take "null" from its type',
        ),
    ],
)
def test_an_optional_pointer_says_what_to_write(
    member: JsonValue, required: list[JsonValue], what: str, hint: str
) -> None:
    schema: JsonValue = {"type": "object", "properties": {"name": member}, "required": required}
    keyed: JsonValue = {"payload": {"schema": "Person"}, "keyConcurrency": {"key": ["/name"]}}
    (problem,) = problems(contract(schemas={"Person": schema}, jobs={"keep": keyed}))

    assert (problem.rule, problem.what, problem.hint) == ("optional-pointer", what, hint)
