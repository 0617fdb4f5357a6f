"""The generator and the runtime state the same numbers and names.

Neither imports the other, so each states the defaults of a contract. What the generator validates and writes into
docstrings must be what the runtime does.
"""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from trellis_nats import errors
from trellis_nats.binding import GroupBinding, KeyQueueBinding, QueueBinding
from trellis_nats.clock import from_milliseconds, to_milliseconds
from trellis_nats.errors import ConfigurationError, InvalidPayload
from trellis_nats.events.subjects import event_subject
from trellis_nats.ids import require_token
from trellis_nats.jobs.keys.model.policy import KeyPolicy, policy_of
from trellis_nats.jobs.local_queue import local_queue
from trellis_nats.jobs.model.subjects import EVENTS_PREFIX
from trellis_nats.specs import EventSpec, GroupSpec, JobSpec, KeySpec, StateSpec

from tests.unit.codegen.contracts import contract, job, manifest, problems
from trellis_codegen.contract import defaults
from trellis_codegen.contract.rules.queues import compute_heartbeat_ms
from trellis_codegen.contract.rules.references import BUILT_IN_ERRORS
from trellis_codegen.problems import Severity

SPEC = JobSpec(name="keep", payload=object, key=KeySpec(template=("k",)))
MILLISECONDS = st.integers(1, 10_000_000)


def silent_binding(**members: JsonValue) -> QueueBinding:
    """Return the binding of a queue whose control plane states names only."""
    names: dict[str, JsonValue] = {
        "queueType": "keep",
        "publishPrefix": f"{EVENTS_PREFIX}.svc.keep",
        "workSubject": "trellis.work.svc.keep",
        "consumerName": "svc__keep",
    }
    return QueueBinding.model_validate({**names, **members})


def local_binding(spec: JobSpec) -> QueueBinding:
    """Return the binding of a queue without a control plane."""
    return local_queue("svc", spec).queues[spec.name]


def test_an_event_group_has_the_same_numbers_where_its_contract_is_silent() -> None:
    spec = GroupSpec(name="audit")
    bound = GroupBinding(alias="audit", stream="trellis", consumer_name="c", filter_subjects=("events.>",))

    assert bound.max_deliver == spec.max_deliver == defaults.GROUP_MAX_DELIVER
    assert bound.backoff_ms == tuple(map(to_milliseconds, spec.backoff)) == defaults.BACKOFF_MS
    assert (bound.ack_wait, bound.replay, bound.concurrency) == (spec.ack_wait, spec.replay, spec.concurrency)
    assert bound.ack_wait_ms == defaults.GROUP_ACK_WAIT_MS
    assert StateSpec(name="prefs", value=object).version == defaults.STATE_VERSION


def policy(binding: QueueBinding) -> KeyPolicy:
    found = policy_of(binding)
    assert found is not None
    return found


@pytest.mark.parametrize("binding", [silent_binding(), local_binding(SPEC)], ids=["handed over", "local"])
def test_a_queue_has_the_same_numbers_where_its_contract_is_silent(binding: QueueBinding) -> None:
    assert binding.max_deliver == SPEC.max_deliver == defaults.MAX_DELIVER
    assert binding.ack_wait_ms == to_milliseconds(SPEC.ack_wait) == defaults.ACK_WAIT_MS
    assert binding.backoff_ms == tuple(map(to_milliseconds, SPEC.backoff)) == defaults.BACKOFF_MS
    assert (binding.progress, binding.logs, binding.concurrency) == (True, True, SPEC.concurrency)
    assert SPEC.concurrency == defaults.CONCURRENCY


@pytest.mark.parametrize("binding", [silent_binding(keyConcurrency={"key": ["k"]}), local_binding(SPEC)])
def test_a_key_has_the_same_numbers_where_its_contract_is_silent(binding: QueueBinding) -> None:
    found = policy(binding)
    interval, lease = compute_heartbeat_ms(manifest(contract(jobs={"keep": KEYED})).jobs["keep"])  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript] - the contract has jobs

    assert (to_milliseconds(found.interval), to_milliseconds(found.lease)) == (interval, lease)
    assert found.max_active == defaults.MAX_ACTIVE
    assert found.max_queued == KeyQueueBinding().max_queued_per_key == defaults.MAX_QUEUED_PER_KEY
    assert found.when_full == KeyQueueBinding().when_full == defaults.WHEN_FULL
    assert found.stale_policy == defaults.STALE_POLICY
    assert KeyPolicy(template=("k",)) == found


KEYED = job(keyConcurrency={"key": ["/thingId"]})


@given(
    st.fixed_dictionaries({}, optional={"ackWaitMs": MILLISECONDS}),
    st.fixed_dictionaries(
        {"key": st.just(["/thingId"])},
        optional={"heartbeatIntervalMs": MILLISECONDS, "heartbeatTtlMs": MILLISECONDS},
    ),
)
def test_a_lease_runs_as_the_generator_validated_it(
    members: dict[str, JsonValue], key: dict[str, JsonValue]
) -> None:
    keep: JsonValue = {**job(), "keyConcurrency": key, **members}
    found = policy(silent_binding(keyConcurrency=key, **members))

    errors_found = [
        each for each in problems(contract(jobs={"keep": keep})) if each.severity is Severity.ERROR
    ]
    if errors_found:
        assert "ends before the next heartbeat" in errors_found[0].what
    else:
        interval, lease = compute_heartbeat_ms(manifest(contract(jobs={"keep": keep})).jobs["keep"])  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript] - the contract has jobs
        assert found.lease == from_milliseconds(lease)
        assert found.interval == min(from_milliseconds(interval), found.lease / defaults.HEARTBEATS_PER_LEASE)


def test_the_numbers_of_the_design_are_the_defaults() -> None:
    """docs/keyed-concurrency.md and the design of jobs state them."""
    assert SPEC.ack_wait == timedelta(seconds=30)
    assert (SPEC.max_deliver, SPEC.backoff[0], SPEC.backoff[-1]) == (
        5,
        timedelta(seconds=5),
        timedelta(minutes=30),
    )
    assert policy(local_binding(SPEC)).interval == timedelta(seconds=10)


@pytest.mark.parametrize("name", ["keep", "a" * 64, "a" * 65, "a.b", "a b", "*", "ünï", "A-_9"])
def test_the_runtime_accepts_the_same_queue_names(name: str) -> None:
    try:
        require_token("queue", name)
        is_taken = True
    except ConfigurationError:
        is_taken = False

    assert (problems(contract(jobs={name: job()})) == []) == is_taken


@pytest.mark.parametrize("length", [1024, 1025])
def test_a_subject_may_be_as_long_in_both(length: int) -> None:
    start = "events.v1."
    subject = start + "x" * (length - len(start))
    template = EventSpec(name="Kept", subject=start + "{/name}", event=object, params=("/name",))
    document = contract(events={"Kept": {"version": "v1", "subject": subject, "event": {"schema": "Thing"}}})
    try:
        is_published = event_subject(template, {"name": subject.removeprefix(start)}) == subject
    except InvalidPayload:
        is_published = False

    is_valid = not [each for each in problems(document) if each.severity is Severity.ERROR]
    assert is_valid == is_published == (length == len(subject) <= 1024)


def test_the_errors_of_the_runtime_need_no_declaration() -> None:
    built_in = {errors.AuthError, errors.TransportError, errors.UnexpectedError, errors.ValidationError}

    assert {error.__name__ for error in built_in} <= BUILT_IN_ERRORS
