"""The permissions of each role, as data and as server configuration."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import Binding, ConfigurationError, Options, Permissions, permissions
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.grants import Role, example
from trellis_nats.permissions.config import covers
from trellis_nats.runtime import Callers

from tests.support.depot import Depot, DepotClient
from tests.support.orders import OrdersClient, OrdersService
from tests.support.shop import Shop

QUEUE = QueueBinding(
    queue_type="pack",
    publish_prefix="trellis.jobs.tr_jobs_x.q1",
    work_subject="trellis.work.tr_jobs_x.q1",
    consumer_name="tr_jobs_x_q1",
)
GIVEN = Binding(jobs=JobsBinding(namespace="tr_jobs_x", work_stream="WORK_9", queues={"pack": QUEUE}))
PUBLIC: Final = "0EqyMnQrtKs6E2i9RhXk5tAiSrcaAWuvhSCjMsl3hzc"
INBOX: Final = "_INBOX.0EqyMnQrtKs6E2i9"
TOKENS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4)
PATTERNS = st.one_of(TOKENS.map(".".join), TOKENS.map(lambda tokens: ".".join([*tokens, ">"])))
SUBJECTS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6).map(".".join)


def test_a_client_may_call_and_subscribe_and_nothing_else() -> None:
    assert permissions(OrdersClient, "client") == Permissions(
        publish=("rpc.v1.Orders.Create", "rpc.v1.Orders.Peek"),
        subscribe=(
            "_INBOX_orders-service.client.>",
            "events.v1.Orders.Shipped",
            "events.v1.Orders.Moved.*",
        ),
    )


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"role must be one of \"worker\", .* got 'wroker'"):
        permissions(OrdersService, cast("Role", "wroker"))


def test_a_service_without_jobs_needs_nothing_of_them() -> None:
    allowed = permissions(OrdersService, "worker")

    assert not [subject for subject in (*allowed.publish, *allowed.subscribe) if "job" in subject.lower()]
    assert "rpc.v1.Orders.Create" in allowed.subscribe
    assert "rpc.v1.Orders.Peek" in allowed.publish  # it calls a procedure itself
    assert allowed.allow_responses == timedelta(minutes=10)


def test_only_a_service_with_keyed_queues_may_use_the_bucket_of_keys() -> None:
    keyed = "$KV.JOBS_KEYS_depot.depot.>"

    assert keyed in permissions(Depot, "worker").publish
    assert keyed in permissions(Depot, "worker").subscribe
    assert keyed in permissions(Depot, "producer").publish
    assert keyed not in permissions(Depot, "producer").subscribe
    assert keyed in permissions(Depot, "operator").publish
    assert not [subject for subject in permissions(OrdersService, "worker").publish if "JOBS_KEYS" in subject]
    assert not [subject for subject in permissions(Depot, "worker").publish if "duty" in subject]


def test_names_of_a_given_binding_are_used() -> None:
    allowed = permissions(Depot, "worker", binding=GIVEN)
    maintenance = permissions(Depot, "operator", binding=GIVEN)

    assert "$JS.API.CONSUMER.MSG.NEXT.WORK_9.tr_jobs_x_q1" in allowed.publish
    assert "trellis.jobs.tr_jobs_x.q1.*.*" in allowed.publish
    assert "trellis.job_claims.tr_jobs_x.*" in allowed.subscribe
    assert "$KV.JOBS_KEYS_tr_jobs_x.duty.*" in maintenance.publish
    in_own_name = [subject for subject in allowed.publish if ".depot." in subject]
    assert in_own_name == ["trellis.feed_traces.depot.*.*"]  # a binding has no names of feeds


def test_the_work_stream_of_a_given_binding_is_the_one_that_is_verified_and_created() -> None:
    allowed = permissions(Depot, "provisioner", binding=GIVEN).publish

    assert {"$JS.API.STREAM.INFO.WORK_9", "$JS.API.STREAM.CREATE.WORK_9"} <= set(allowed)
    assert "$JS.API.CONSUMER.INFO.WORK_9.tr_jobs_x_q1" in allowed
    assert not [subject for subject in allowed if "JOBS_WORK" in subject]


def test_a_queue_that_only_the_given_binding_has_needs_no_permissions() -> None:
    for role in ("worker", "producer", "operator", "provisioner"):
        allowed = permissions(OrdersService, role, binding=GIVEN)
        assert not [subject for subject in (*allowed.publish, *allowed.subscribe) if "tr_jobs_x" in subject]


def test_a_role_and_a_class_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="pass the generated client class, not Depot"):
        permissions(Depot, "client")
    with pytest.raises(ConfigurationError, match="pass the generated service class, not DepotClient"):
        permissions(DepotClient, "worker")


@pytest.mark.parametrize("prefix", ["", "_INBOX.>", "*", "a..b", "a b", ".a", "a."])
def test_an_inbox_that_is_not_a_subject_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="inbox_prefix"):
        permissions(Depot, "worker", inbox_prefix=prefix)


def test_the_inbox_may_be_chosen() -> None:
    assert Options().inbox_prefix is None
    assert permissions(Depot, "producer", inbox_prefix="_INBOX.shop").subscribe[0] == "_INBOX.shop.>"


def test_answers_to_a_program_that_signs_arrive_in_the_inbox_of_its_key() -> None:
    for role in ("worker", "producer", "operator", "viewer", "auditor", "provisioner"):
        inboxes = [
            line
            for line in permissions(Depot, role, session_key=PUBLIC).subscribe
            if line.startswith("_INBOX")
        ]
        assert inboxes == [f"{INBOX}.>"]
    assert permissions(DepotClient, "client", session_key=PUBLIC).subscribe[0] == f"{INBOX}.>"
    longer = permissions(Depot, "worker", session_key=PUBLIC, inbox_prefix=f"{INBOX}.one")
    assert longer.subscribe[0] == f"{INBOX}.one.>"
    with pytest.raises(ConfigurationError, match="is not below"):
        permissions(Depot, "worker", session_key=PUBLIC, inbox_prefix="_INBOX.other")


def test_a_service_whose_callers_sign_answers_in_their_inboxes() -> None:
    names = {mode: permissions(Depot, "worker", callers=mode).publish for mode in get_args(Callers)}

    assert "_INBOX_depot.client.>" in names["open"]
    assert "_INBOX.*.>" in names["keys"]
    assert "_INBOX.*.>" in names["control-plane"]
    assert not [mode for mode in ("keys", "control-plane") if "_INBOX_depot.client.>" in names[mode]]
    asks = "rpc.v1.Auth.Requests.Validate"
    assert [mode for mode, publish in names.items() if asks in publish] == ["control-plane"]
    assert asks not in permissions(Depot, "producer", callers="control-plane").publish
    assert asks not in permissions(Shop, "worker", callers="control-plane").publish  # it serves nothing


def test_what_only_a_service_uses_has_the_name_of_its_key_under_a_control_plane() -> None:
    local = permissions(Depot, "worker", session_key=PUBLIC)
    bound = permissions(Depot, "worker", session_key=PUBLIC, binding=GIVEN)
    token = PUBLIC[:16]

    assert "$KV.trellis_operations_depot.>" in local.publish
    assert "transfer.v1.upload.depot.*" in local.subscribe
    assert f"$KV.trellis_operations_{token}.>" in bound.publish
    assert f"$JS.API.STREAM.CREATE.KV_trellis_operations_{token}" in bound.publish
    assert {f"transfer.v1.{folder}.{token}.*" for folder in ("upload", "download")} <= {*bound.subscribe}
    assert not [
        line for line in (*local.publish, *bound.publish) if "STREAM.CREATE" in line and "depot" in line
    ]


@pytest.mark.parametrize("text", ["", PUBLIC[1:], f"{PUBLIC}=", "*" * 43])
def test_a_text_that_is_not_a_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="session_key is a public key: 43 characters"):
        permissions(Depot, "worker", session_key=text)


def test_an_unknown_way_to_check_callers_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match=r'callers must be one of "open", "keys", "control-plane", got'
    ):
        permissions(Depot, "worker", callers=cast("Callers", "key"))


def test_it_is_written_as_a_server_reads_it() -> None:
    allowed = Permissions(
        publish=("$KV.a.>", "b"), subscribe=("_INBOX_x.>",), allow_responses=timedelta(minutes=2)
    )

    assert allowed.to_config() == (
        "permissions {\n"
        "    publish { allow: [\n"
        '        "$KV.a.>"\n'
        '        "b"\n'
        "    ] }\n"
        "    subscribe { allow: [\n"
        '        "_INBOX_x.>"\n'
        "    ] }\n"
        '    allow_responses { max: 1, expires: "120s" }\n'
        "}\n"
    )


def test_nothing_is_written_as_a_denial_of_everything() -> None:
    """A server takes an empty list of what is allowed for no limit at all."""
    assert Permissions(subscribe=("a",)).to_config().splitlines()[1] == '    publish { deny: [">"] }'


def test_two_roles_are_joined_without_what_is_covered() -> None:
    one = Permissions(publish=("a.*", "b.c"), subscribe=("x",), allow_responses=timedelta(minutes=1))
    other = Permissions(publish=("a.b", "b.>"), subscribe=("x", "y"), allow_responses=timedelta(minutes=3))

    assert one | other == Permissions(
        publish=("a.*", "b.>"), subscribe=("x", "y"), allow_responses=timedelta(minutes=3)
    )
    assert (Permissions(publish=("a",)) | Permissions()).allow_responses is None


@given(PATTERNS, SUBJECTS)
def test_a_pattern_covers_the_subjects_that_match_it(pattern: str, subject: str) -> None:
    parts, tokens = pattern.split("."), subject.split(".")
    head = parts[:-1] if parts[-1] == ">" else parts
    longer = len(tokens) > len(head) if parts[-1] == ">" else len(tokens) == len(head)
    matches = longer and all(part in {"*", token} for part, token in zip(head, tokens, strict=False))

    assert covers(pattern, subject) == matches


@given(PATTERNS, PATTERNS, SUBJECTS)
def test_what_covers_a_pattern_covers_all_of_its_subjects(wide: str, narrow: str, subject: str) -> None:
    if covers(wide, narrow) and covers(narrow, subject):
        assert covers(wide, subject)


@given(PATTERNS)
def test_the_example_of_a_pattern_matches_it(pattern: str) -> None:
    assert covers(pattern, example(pattern))
