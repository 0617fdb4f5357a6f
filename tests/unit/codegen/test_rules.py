"""The rules of contracts: references exist, names are legal, and numbers are in range."""

import pytest
from pydantic import JsonValue

from tests.unit.codegen.contracts import JsonObject, contract, job, problems, rpc
from trellis_codegen.contract.overlaps import Subjects
from trellis_codegen.problems import Severity, place

THING: JsonValue = {"schema": "Thing"}
LEAVES: JsonObject = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "flag": {"type": "boolean"},
    "ratio": {"type": "number"},
    "anything": {},
    "list": {"type": "array", "items": {"type": "string"}},
    "maybe": {"type": ["string", "null"]},
    "a/b~c": {"const": "x"},
    "kind": {"anyOf": [{"const": "a"}, {"const": "b"}]},
    "inner": {"type": "object", "properties": {"id": {"$ref": "#/$defs/id"}}, "required": ["id"]},
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
}
PAYLOAD: JsonObject = {
    "type": "object",
    "properties": LEAVES,
    "required": list[JsonValue](LEAVES),
    "$defs": {"id": {"type": "string"}},
}


def keyed(*template: str, **members: JsonValue) -> JsonObject:
    key: JsonObject = {"key": list[JsonValue](template), **members}
    return contract(schemas={"Thing": PAYLOAD}, jobs={"keep": job(keyConcurrency=key)})


def event(subject: str = "events.v1.Kept", **members: JsonValue) -> JsonObject:
    return {"version": "v1", "subject": subject, "event": THING, **members}


def happening(**events: JsonValue) -> JsonObject:
    return contract(schemas={"Thing": PAYLOAD}, events=events)


def operation(**members: JsonValue) -> JsonObject:
    return {"version": "v1", "subject": "operations.v1.Run", "input": THING, "output": THING, **members}


def upload(**members: JsonValue) -> JsonObject:
    transfer: JsonObject = {"direction": "send", "store": "files", "key": "/text", **members}
    return contract(
        schemas={"Thing": PAYLOAD},
        operations={"Run": operation(transfer=transfer)},
        resources={"store": {"files": {"purpose": "x", "maxObjectBytes": 10}}},
    )


def consumer(**group: JsonValue) -> JsonObject:
    use: JsonObject = {"contract": "other@v1", "events": {"subscribe": ["Other.Done"]}}
    return contract(
        schemas={"Thing": PAYLOAD},
        events={"Kept": event()},
        uses={"required": {"other": use}, "optional": {"more": {"contract": "more@v1"}}},
        eventConsumers={"audit": group},
    )


def guarded(capability: str, **sections: JsonValue) -> JsonObject:
    return contract(rpc={"Get": rpc("Get", capabilities={"call": [capability]})}, **sections)


def stateful(**members: JsonValue) -> JsonObject:
    return contract(kind="app", state={"mine": {"kind": "value", "schema": THING, **members}})


USE: JsonObject = {"contract": "other@v1"}
RIGHT: JsonObject = {"displayName": "R", "description": "r"}


@pytest.mark.parametrize(
    "document",
    [
        keyed("zendesk", "/text", "/count", "/flag", "/kind", "/a~1b~0c", "/inner/id"),
        keyed("a", "/text", heartbeatIntervalMs=1000, heartbeatTtlMs=1001),
        happening(Kept=event("events.v1.Kept.{/text}.{/ratio}", params=["/text", "/ratio"])),
        upload(contentType="/kind", metadata="/map"),
        consumer(self=["Kept"], uses={"other": ["Other.Done"]}, concurrency=1),
        guarded("admin"),
        guarded("other::read"),
        guarded("read", capabilities={"things-service::read": RIGHT}),
        guarded("things-service::read", capabilities={"things-service::read": RIGHT}),
        guarded("read", capabilities={"read": RIGHT}),
        contract(jobs={"a" * 64: job(), "A-b_9": job(maxDeliver=3, backoffMs=[1, 2])}),
        contract(exports={"schemas": ["Thing"]}),
        upload(maxBytes=10),
        contract(operations={"Run": operation(signals={"Stop": {"input": THING}}, cancel=True)}),
        contract(**{"$schema": "manifest.schema.json"}),
    ],
)
def test_a_legal_contract_has_no_problems(document: JsonObject) -> None:
    assert problems(document, strict=True) == []


@pytest.mark.parametrize(
    ("document", "where", "what"),
    [
        (keyed("/~2"), "jobs/keep/keyConcurrency/key/0", "is not a JSON pointer"),
        (keyed("/nope"), "jobs/keep/keyConcurrency/key/0", 'the schema has nothing at "/nope"'),
        (keyed("/list"), "jobs/keep/keyConcurrency/key/0", "may be an array"),
        (keyed("/inner"), "jobs/keep/keyConcurrency/key/0", "may be an object"),
        (keyed("/ratio"), "jobs/keep/keyConcurrency/key/0", "may be a number"),
        (keyed("/anything"), "jobs/keep/keyConcurrency/key/0", "may be an array"),
        (keyed("/text/more"), "jobs/keep/keyConcurrency/key/0", "nothing at"),
        (keyed(), "jobs/keep/keyConcurrency/key", "must not be empty"),
        (keyed(""), "jobs/keep/keyConcurrency/key/0", "must not be empty"),
        (keyed("a", heartbeatIntervalMs=30, heartbeatTtlMs=30), "jobs/keep/keyConcurrency/heartbeatTtlMs", "a lease of 30 ms"),
        (keyed("a", heartbeatIntervalMs=300_000), "jobs/keep/keyConcurrency/heartbeatIntervalMs", "the default lease of 30000 ms"),
        (keyed("a", stalePolicy="fail"), "jobs/keep/keyConcurrency/stalePolicy", "expected"),
        (contract(jobs={"a.b": job()}), "jobs/a.b", "is not a valid queue name"),
        (contract(jobs={"a" * 65: job()}), f"jobs/{'a' * 65}", "is not a valid queue name"),
        (contract(jobs={"a": job(queue={"maxQueuedPerKey": 1})}), "jobs/a/queue", "keyConcurrency"),
        (contract(jobs={"a": job(update={"schema": "None"})}), "jobs/a/update", "no schema named"),
        (contract(jobs={"a": job(ackWaitMs=2**60)}), "jobs/a/ackWaitMs", "must be at most"),
        (contract(jobs={"a": job(concurrency=2**40)}), "jobs/a/concurrency", "must be at most"),
        (contract(jobs={"a": job(backoffMs=[-1])}), "jobs/a/backoffMs/0", "must be at least 0"),
        (guarded("read"), "rpc/Get/capabilities/call/0", 'no capability named "read"'),
        (guarded("things-service::read"), "rpc/Get/capabilities/call/0", "no capability named"),
        (contract(exports={"schemas": ["Thing", "Thing"]}), "exports/schemas/1", "exported twice"),
        (contract(rpc={"A b": rpc("A")}), "rpc/A b", "is not valid in a subject"),
        (contract(rpc={"A..b": rpc("A")}), "rpc/A..b", "is not valid in a subject"),
        (contract(rpc={"A": rpc("A", subject="rpc.v1.*")}), "rpc/A/subject", "is not a valid subject"),
        (contract(rpc={"A": rpc("A"), "B": rpc("A")}), "rpc/B/subject", 'the subject "rpc.v1.A" is already used by rpc "A"'),
        (contract(feeds={"A": {**rpc("A"), "event": THING, "subject": "feeds.v1.a b"}}), "feeds/A/subject", "is not a valid subject"),
        (happening(Kept=event(params=["/text"])), "events/Kept/params", "the subject has the parameters none"),
        (happening(Kept=event("events.v1.Kept.{/text}")), "events/Kept/subject", "but params has none"),
        (happening(Kept=event("events.v1.Kept.{text}", params=["/text"])), "events/Kept/subject", "is not a JSON pointer"),
        (happening(Kept=event("events.v1.Kept.{/text", params=["/text"])), "events/Kept/subject", "unmatched brace"),
        (happening(Kept=event("events.v1.Kept.{/flag}", params=["/flag"])), "events/Kept/params/0", "may be a boolean"),
        (happening(Kept=event("events.v1.Kept.{/x}", params=["/x"])), "events/Kept/params/0", "nothing at"),
        (happening(A=event("events.v1.{/text}", params=["/text"]), B=event("events.v1.B")), "events/B/subject", 'events "A"'),
        (contract(operations={"Run": operation(errors=[{"type": "Lots"}])}, errors={"lost": {"type": "Lost"}}), "operations/Run/errors/0/type", 'no error of type "Lots"'),
        (upload(store="nope"), "operations/Run/transfer/store", 'no store named "nope"'),
        (upload(key="/count"), "operations/Run/transfer/key", "must be a string"),
        (upload(key="x"), "operations/Run/transfer/key", "does not match"),
        (upload(direction="receive"), "operations/Run/transfer/direction", "expected"),
        (consumer(), "eventConsumers/audit", "must name an event"),
        (consumer(self=[]), "eventConsumers/audit/self", "must not be empty"),
        (consumer(self=["Kept"], concurrency=2), "eventConsumers/audit/concurrency", "one at a time"),
        (consumer(self=["Kepd"]), "eventConsumers/audit/self/0", 'no event "Kepd"'),
        (consumer(uses={"none": ["X"]}), "eventConsumers/audit/uses/none", 'no contract is used as "none"'),
        (consumer(uses={"other": ["X"]}), "eventConsumers/audit/uses/other/0", "not listed in uses/required/other/events/subscribe"),
        (consumer(uses={"more": ["X"]}), "eventConsumers/audit/uses/more/0", "not listed in uses/optional/more/events/subscribe"),
        (contract(subjects={}), "subjects", "raw subjects are not supported"),
        (contract(resources={"jobs": {}}), "resources/jobs", "is not supported"),
        (contract(resources={"streams": {}}), "resources/streams", "is not supported"),
        (contract(uses={"auth": {"contract": "auth@v1"}}), "uses/auth", 'inside "required" or "optional"'),
        (contract(uses={"required": {"a": {"contract": "a@v1", "subjects": {}}}}), "uses/required/a/subjects", "raw subjects"),
    ],
)  # fmt: skip
def test_an_error_has_its_place(document: JsonObject, where: str, what: str) -> None:
    found = [each for each in problems(document) if each.severity is Severity.ERROR]

    assert [place(each.pointer) for each in found] == [where]
    assert what in found[0].what


@pytest.mark.parametrize(
    ("document", "where", "what"),
    [
        (keyed("/maybe"), "jobs/keep/keyConcurrency/key/0", "may be null"),
        (keyed("/map/x"), "jobs/keep/keyConcurrency/key/0", "may be absent"),
        (contract(id="things"), "id", "is not a name with a version"),
        (contract(rpc={"A": rpc("A", subject="things.a")}), "rpc/A/subject", 'does not start with "rpc.v1."'),
        (contract(rpc={"A": rpc("A", version="v2")}), "rpc/A/subject", 'does not start with "rpc.v2."'),
        (contract(jobs={"a": job(maxDeliver=2, backoffMs=[1, 2])}), "jobs/a/backoffMs", "has 2 waits, of which the first 1 can be reached"),
        (contract(jobs={"a": job(dlq=False)}), "jobs/a/dlq", "false is not enforced"),
        (contract(resources={"kv": {"a": {"purpose": "x", "history": 65}}}), "resources/kv/a/history", "at most 64"),
        (contract(capabilities={"things-service.read": RIGHT}), "capabilities/things-service.read", "repeats"),
        (contract(future=None), "future", "unknown field"),
        (consumer(self=["Kept"], maxDeliver=2, backoffMs=[1, 2]), "eventConsumers/audit/backoffMs", "has 2 waits"),
        (contract(errors={"B": {"type": "Gone"}, "A": {"type": "Gone"}}), "errors/B", 'the error "A" has the type "Gone" too'),
        (upload(maxBytes=11), "operations/Run/transfer/maxBytes", 'the store "files" takes objects of at most 10 bytes'),
        (contract(uses={"required": {"a": USE}, "optional": {"a": USE}}), "uses/optional/a", '"a" is under "required" too'),
        (stateful(acceptedVersions={"v1": THING}), "state/mine/acceptedVersions/v1", '"v1" is the current version'),
        (contract(operations={"Run": operation(capabilities={"cancel": ["admin"]})}), "operations/Run/capabilities/cancel", "no caller can cancel"),
    ],
)  # fmt: skip
def test_a_doubtful_value_is_a_warning(document: JsonObject, where: str, what: str) -> None:
    (found,) = problems(document)

    assert (found.severity, place(found.pointer)) == (Severity.WARNING, where)
    assert what in found.what


@pytest.mark.parametrize("branch", [["anyOf"], ["oneOf"]])
def test_a_pointer_must_be_valid_in_every_variant(branch: list[str]) -> None:
    text: JsonValue = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
    number: JsonValue = {"type": "object", "properties": {"id": {"type": "number"}}, "required": ["id"]}
    jobs: JsonValue = {"keep": job(keyConcurrency={"key": ["/id"]})}

    assert problems(contract(schemas={"Thing": {branch[0]: [text, text]}}, jobs=jobs)) == []
    assert (
        "may be a number"
        in problems(contract(schemas={"Thing": {branch[0]: [text, number]}}, jobs=jobs))[0].what
    )
    assert (
        "nothing at"
        in problems(contract(schemas={"Thing": {branch[0]: [text, {"type": "object"}]}}, jobs=jobs))[0].what
    )
    merged: JsonValue = {"allOf": [text, {"type": "object"}]}
    assert problems(contract(schemas={"Thing": merged}, jobs=jobs)) == []


def test_a_pointer_through_a_recursive_schema_ends() -> None:
    loop: JsonValue = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    jobs: JsonValue = {"keep": job(keyConcurrency={"key": ["/id"]})}

    assert "nothing at" in problems(contract(schemas={"Thing": loop}, jobs=jobs))[0].what


def test_each_subject_is_compared_with_all_others() -> None:
    subjects = Subjects()

    assert [subjects.add(each, (each,)) for each in ("a.b", "a.*.c", "a.b.d", "*.b", "x.*.c", "*.y.*", "a.y.c")] == [
        None, None, None, ("a.b",), None, ("a.*.c",), ("a.*.c",)
    ]  # fmt: skip


def test_a_rule_stops_after_200_problems() -> None:
    schemas: JsonObject = {f"Schema{index}": {"type": "string"} for index in range(3000)}
    jobs: JsonObject = {f"job-{index}": job(f"Schem{index}") for index in range(3000)}

    found = problems(contract(schemas=schemas, jobs=jobs))

    assert len(found) == 201
    assert found[-1].what.endswith("there may be more problems like it")


def test_a_pointer_through_a_schema_of_many_variants_is_followed_once() -> None:
    payloads: list[JsonValue] = [PAYLOAD] * 300
    to_a: list[JsonValue] = [{"$ref": "#/$defs/a"}] * 300
    to_b: list[JsonValue] = [{"$ref": "#/$defs/b"}] * 300
    thing: JsonObject = {"anyOf": to_a, "$defs": {"a": {"anyOf": to_b}, "b": {"anyOf": payloads}}}
    jobs: JsonObject = {"keep": job(keyConcurrency={"key": ["/text"]})}

    assert problems(contract(schemas={"Thing": thing}, jobs=jobs)) == []


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (["text"], [("jobs/keep/keyConcurrency/key/0", 'write "/text"')]),
        (["things", "text"], [("jobs/keep/keyConcurrency/key/1", 'write "/text"')]),
        (
            ["things"],
            [("jobs/keep/keyConcurrency/key", 'add a pointer to a member of the payload, such as "/text"')],
        ),
        (["text", "/count"], [("jobs/keep/keyConcurrency/key/0", 'write "/text"')]),
        (["text", "/text"], []),
        (["inner", "/inner/id"], []),
        (["things", "/count"], []),
    ],
)
def test_a_key_of_texts_is_a_warning(template: list[str], found: list[tuple[str, str]]) -> None:
    reported = problems(keyed(*template))

    assert {problem.rule for problem in reported} <= {"literal-key"}
    assert {problem.severity for problem in reported} <= {Severity.WARNING}
    assert [(place(problem.pointer), problem.hint) for problem in reported] == found


def test_an_unknown_capability_says_how_one_is_declared() -> None:
    (problem,) = problems(guarded("read"))

    assert problem.hint == (
        'declare it at the top of the contract: "capabilities": {"read": {"displayName": "…", "description": "…"}}'
    )
    (problem,) = problems(guarded("raed", capabilities={"read": RIGHT}))
    assert problem.hint == 'did you mean "read"?'
