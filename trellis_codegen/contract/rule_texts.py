"""What each rule of `trellis-gen validate` means, and what to do about it: for `explain`, SARIF and docs/reference/rules.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from trellis_codegen.rule_ids import Rule

__all__ = ["RULE_GROUPS", "RULE_TEXTS", "RuleText"]


@dataclass(frozen=True, slots=True)
class RuleText:
    """One rule in words."""

    meaning: str
    remedy: str
    is_warning: bool = False
    """Whether the package is generated all the same, so that the problem can be ignored."""


def _warn(meaning: str, remedy: str) -> RuleText:
    return RuleText(meaning, remedy, is_warning=True)


_FILE: Final = {
    Rule.NOT_JSON: RuleText(
        "The file is not JSON. Comments, commas at the end, `NaN` and `Infinity` are not JSON either.",
        "Correct the place that the message shows.",
    ),
    Rule.NOT_UTF_8: RuleText("A byte of the file is not UTF-8.", "Save the file as UTF-8."),
    Rule.BYTE_ORDER_MARK: RuleText(
        "The file starts with a byte order mark, which JSON does not allow.", "Save it as UTF-8 without one."
    ),
    Rule.DUPLICATE_NAME: RuleText(
        "An object has two members of one name, and parsers disagree about which of them counts.",
        "Remove one, or rename it.",
    ),
    Rule.LONE_SURROGATE: RuleText(
        "A text or a name has half of a character, which cannot be written as UTF-8.",
        "Write the whole character, or both halves as `\\ud83d\\ude00`.",
    ),
    Rule.NUMBER_TOO_LARGE: RuleText(
        "A number is too large or too long to be read by every runtime.",
        "Write a smaller number, or a text.",
    ),
    Rule.TOO_DEEP: RuleText(
        "Objects and lists are nested too deep for some readers.",
        "Move inner schemas into `$defs`, or into entries of `schemas`.",
    ),
    Rule.FILE_TOO_LARGE: RuleText(
        "The file has more than 5,000,000 bytes.", "Split the contract into several, which use each other."
    ),
}
_MEMBERS: Final = {
    Rule.MISSING_FIELD: RuleText(
        "A member that every object of this kind has is missing.",
        "Add it. `trellis-gen explain` with the path says what it is.",
    ),
    Rule.UNKNOWN_FIELD: _warn(
        "The format has no such member. It is left out, because a later version of the format may have it. With `--strict`, it is an error.",
        "Correct its name, or remove it.",
    ),
    Rule.UNSUPPORTED_FIELD: RuleText(
        "The member belongs to an earlier version of the format, or to another place.",
        "Do what the hint of the message says.",
    ),
    Rule.WRONG_TYPE: RuleText("A member has a value of another type.", "Write a value of the type."),
    Rule.WRONG_VALUE: RuleText(
        "A member has a value that is not one of those that it may have.", "Write one of them."
    ),
    Rule.EMPTY_VALUE: RuleText(
        "A text, a name or a list is empty.", "Write something, or leave the member out."
    ),
    Rule.NULL_VALUE: RuleText("The format has no `null`.", "Leave the member out."),
    Rule.OUT_OF_RANGE: RuleText(
        "A number is smaller or larger than the server or a runtime can use.",
        "Write a number within the limits.",
    ),
    Rule.HISTORY_TOO_LONG: _warn(
        "NATS keeps at most 64 revisions of a key.", "Write a `history` of at most 64."
    ),
    Rule.WITHOUT_EFFECT: _warn(
        "The member changes nothing: another member counts in its place, or what it is about is not declared.",
        "Do what the hint of the message says.",
    ),
}
_REFERENCES: Final = {
    Rule.UNKNOWN_SCHEMA: RuleText("`schemas` has no entry of this name.", "Declare it, or correct the name."),
    Rule.UNKNOWN_ERROR: RuleText(
        "No entry of `errors` has this type, and it is not built in.", "Declare it, or correct the type."
    ),
    Rule.UNKNOWN_STORE: RuleText(
        "`resources.store` has no entry of this name.", "Declare it, or correct the name."
    ),
    Rule.UNKNOWN_CAPABILITY: RuleText(
        "A surface demands a capability that this contract does not declare.",
        "Declare it under `capabilities`, or correct its name.",
    ),
    Rule.UNKNOWN_EVENT: RuleText(
        "An event consumer lists an event under `self` that this contract does not have.",
        "Declare it under `events`, or correct its name.",
    ),
    Rule.UNKNOWN_ALIAS: RuleText(
        "An event consumer takes events of an alias that `uses` does not have.",
        "Add the other contract under `uses`, or correct the alias.",
    ),
    Rule.UNLISTED_EVENT: RuleText(
        "An event consumer takes an event that `uses` does not subscribe to.",
        "Add it to `events.subscribe` of the alias.",
    ),
    Rule.EXPORTED_TWICE: RuleText("`exports.schemas` has a name twice.", "Remove one."),
    Rule.CONTRACT_NOT_FOUND: RuleText(
        "The manifest of a contract under `uses` was not found, so its schemas are not known.",
        'Name the manifest, a folder with it, or an installed package: `--with FILE`, or `with = ["FILE"]` in pyproject.toml.',
    ),
    Rule.UNKNOWN_USED_NAME: RuleText(
        "The other contract has no RPC, operation, event or feed of this name.",
        "Correct the name, or take a newer manifest of the other contract.",
    ),
    Rule.INTERNAL_RPC: RuleText(
        "The RPC of the other contract is `internal`: only its own processes may call it.",
        "Ask its owners for an RPC that is not internal.",
    ),
    Rule.UNUSED_SCHEMA: _warn(
        "No part of the contract uses this schema. It becomes a model all the same.",
        "Remove it, or list it under `exports.schemas`.",
    ),
}
_NAMES: Final = {
    Rule.ID_WITHOUT_VERSION: _warn("An id is a name and a version.", "Write it like `orders-service@v1`."),
    Rule.REPEATED_NAMESPACE: _warn(
        "A capability without `::` belongs to this contract, and repeats its name.",
        "Leave the name of the contract out.",
    ),
    Rule.INVALID_NAME: RuleText(
        "The name becomes a part of a subject or of a consumer's name, which may not have these characters.",
        "Use letters, digits, dashes and underscores; names of calls and events may have single dots between them.",
    ),
    Rule.INVALID_SUBJECT: RuleText(
        "NATS does not accept the subject, or it would match other subjects.",
        "Write tokens without white space, `*` and `>` between single dots, at most 1024 characters.",
    ),
    Rule.UNCONVENTIONAL_SUBJECT: _warn(
        "The platform expects `<section>.<version>.<name>`, and may route other subjects elsewhere.",
        "Write the subject that the hint names.",
    ),
    Rule.SUBJECT_OVERLAP: RuleText(
        "Two surfaces would receive the same messages.", "Give one of them another subject."
    ),
    Rule.PARAMS_MISMATCH: RuleText(
        "The `{/pointers}` of an event's subject and its `params` differ.",
        "Declare the same pointers in both, in the same order.",
    ),
    Rule.INVALID_POINTER: RuleText(
        "The text is not a JSON pointer.", "Begin with `/`, and write `~` as `~0` and `/` in a name as `~1`."
    ),
    Rule.POINTER_TO_NOTHING: RuleText(
        "The schema has nothing where the pointer leads to.", "Correct the pointer, or declare the member."
    ),
    Rule.POINTER_OF_WRONG_TYPE: RuleText(
        "The value that the pointer leads to cannot be a part of a key, a subject or a file name.",
        "Point to a value of one of the types that the message names.",
    ),
    Rule.OPTIONAL_POINTER: _warn(
        "The schema lets the value that the pointer leads to be absent or null, and a payload without it has no key or subject: `create` and "
        "`publish` refuse it with `InvalidPayload`.",
        'List the member under `required` of its object, which needs `"type": "object"`; take `null` from its type.',
    ),
}
_WORK: Final = {
    Rule.QUEUE_WITHOUT_KEY: RuleText(
        "`queue` says how many jobs of a key may wait, and this queue has no keys.",
        "Declare `keyConcurrency`, or remove `queue`.",
    ),
    Rule.LITERAL_KEY: _warn(
        "A part of a key without `/` is a text, the same for every job. A key of such texts alone is one key for the whole queue, and a text that "
        "is the name of a member of the payload is most often a pointer without its slash.",
        "Write `/` before the name of the member whose value counts; leave `keyConcurrency` out, if no two jobs exclude each other.",
    ),
    Rule.LEASE_TOO_SHORT: RuleText(
        "The lease of a slot ends before the next heartbeat, so that a running job would lose it.",
        "Make `heartbeatTtlMs` three times as long as `heartbeatIntervalMs`.",
    ),
    Rule.UNREACHABLE_BACKOFF: _warn(
        "A queue or an event consumer has more waits than retries.",
        "Remove waits, or raise `maxDeliver`.",
    ),
    Rule.DLQ_NOT_ENFORCED: _warn(
        "`dlq: false` has no effect: a job without attempts left ends as dead.", "Remove `dlq`."
    ),
    Rule.IMPOSSIBLE_JOB: _warn(
        "No value matches the schema of the payload or of the result.",
        "Correct the schema; leave `result` out if handlers return nothing.",
    ),
    Rule.IMPOSSIBLE_ERROR: _warn(
        "The schema of an error refuses a member that every error has: its type, `id`, `message`, `context` or `traceId`. Callers get an "
        "`UnexpectedError` in its place.",
        "Declare the member as the hint shows, or leave it out of the schema.",
    ),
    Rule.EMPTY_CONSUMER: RuleText("An event consumer has no event.", "Name events in `uses` or in `self`."),
    Rule.ORDERED_CONCURRENCY: RuleText(
        "Events in order are handled one at a time.", "Remove `concurrency`, or write 1."
    ),
    Rule.MISPLACED_SURFACE: RuleText(
        "Only a service has RPCs, operations, events, feeds, jobs, event consumers, buckets and stores.",
        'Move it to the contract of a service, or write `"kind": "service"`.',
    ),
    Rule.STATE_OF_SERVICE: _warn(
        "Only apps, devices and agents have state. It is not generated for a service.",
        "Keep what a service stores in `resources.kv`.",
    ),
    Rule.BUCKET_WITHOUT_SCHEMA: _warn(
        "The bucket has no schema, so that its values are any JSON.", "Name the schema of its values."
    ),
}
_SCHEMAS: Final = {
    Rule.INVALID_SCHEMA: RuleText(
        "The entry is not a JSON Schema: a keyword has a value of another type, or a type does not exist.",
        "Correct the keyword.",
    ),
    Rule.INVALID_REFERENCE: RuleText(
        "A `$ref` leads out of its schema, or to nothing.",
        "Copy what it refers to into `$defs` of the schema. Equal objects become one class.",
    ),
    Rule.INVALID_PATTERN: RuleText(
        "The pattern is not a regular expression that Python and JavaScript read alike.",
        "Simplify the pattern.",
    ),
    Rule.ENDLESS_SCHEMA: RuleText(
        "The schema refers to itself with no object, list or map between, so that no value ends.",
        "Put an object, a list or a map between.",
    ),
    Rule.SCHEMA_TOO_LARGE: RuleText(
        "The schema has too many schemas inside, or nests them too deep.", "Split it into several."
    ),
    Rule.UNTRANSLATABLE_SCHEMA: RuleText(
        "No model can be generated for the schema.", "Simplify it, and report it as a bug of trellis-gen."
    ),
    Rule.DOUBTFUL_SCHEMA: _warn(
        "Keywords of a schema contradict each other, so that no value matches, or a keyword says nothing: a constant that never matches, a "
        "keyword for values of another type, a required member that is not declared.",
        "Correct the keyword.",
    ),
    Rule.UNENFORCED_KEYWORD: _warn(
        "The models do not check this keyword: values that violate it are accepted.",
        "Check it in your code, or ignore the warning. [Schemas](schemas.md) lists what is enforced.",
    ),
    Rule.IGNORED_DEFAULT: _warn(
        "The default does not match its own schema, and the model has none.", "Correct the default."
    ),
}
_PYTHON: Final = {
    Rule.NO_PYTHON_NAME: RuleText(
        "The name has no letter or digit that could be in a Python name.",
        "State a Python name under `[tool.trellis-gen.names]`, as the hint shows.",
    ),
    Rule.NAME_COLLISION: RuleText(
        "Two names of the contract would become one Python name.",
        "State another Python name for one under `[tool.trellis-gen.names]`, or give a nested object a `title`.",
    ),
    Rule.NAME_TOO_LONG: RuleText(
        "The file of the schema would have a name that file systems refuse.",
        "State a shorter name under `[tool.trellis-gen.names]`.",
    ),
    Rule.HIDDEN_CLASS: _warn(
        "A nested class has a name that is taken, so the package does not export it.",
        "Import it from the module that the message names, or give the object a `title`.",
    ),
    Rule.UNKNOWN_STATED_NAME: _warn(
        "pyproject.toml states a Python name for a place that the contract does not have.",
        "Correct or remove the entry of `[tool.trellis-gen.names]`.",
    ),
    Rule.CONFIGURATION: RuleText(
        "`[tool.trellis-gen]` of pyproject.toml has an error.", "Correct the place that the message shows."
    ),
    Rule.UNUSED_IGNORE: _warn(
        "An entry of `[tool.trellis-gen.validate]` ignores nothing, or its date has passed.",
        "Remove the entry, or renew its date.",
    ),
}

RULE_GROUPS: Final[dict[str, dict[Rule, RuleText]]] = {
    "The file": _FILE,
    "Members": _MEMBERS,
    "References": _REFERENCES,
    "Names and subjects": _NAMES,
    "Jobs, consumers and resources": _WORK,
    "Schemas": _SCHEMAS,
    "Python and the project": _PYTHON,
}
"""The rules by subject."""
RULE_TEXTS: Final = {rule: text for group in RULE_GROUPS.values() for rule, text in group.items()}
"""Every rule."""
