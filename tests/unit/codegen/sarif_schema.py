"""What of SARIF 2.1.0 we write, as strict as the standard's own schema: no member that it does not have.

Taken from sections 3.13 to 3.30 of the standard: which members exist, which are required, and of what type they are.
"""

from pydantic import JsonValue


def _object(required: list[str], **properties: JsonValue) -> JsonValue:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*required],
        "properties": properties,
    }


def _list(items: JsonValue, **limits: JsonValue) -> JsonValue:
    return {"type": "array", "items": items, **limits}


TEXT: JsonValue = {"type": "string", "minLength": 1}
NUMBER: JsonValue = {"type": "integer", "minimum": 1}
MESSAGE = _object(["text"], text=TEXT)
REGION = _object(["startLine"], startLine=NUMBER, startColumn=NUMBER, endColumn=NUMBER)
ARTIFACT = _object(["uri"], uri={"type": "string", "format": "uri-reference", "minLength": 1})
PHYSICAL = _object(["artifactLocation"], artifactLocation=ARTIFACT, region=REGION)
LOGICAL = _object(["fullyQualifiedName"], fullyQualifiedName=TEXT, kind=TEXT)
LOCATION = _object(
    ["physicalLocation"], physicalLocation=PHYSICAL, logicalLocations=_list(LOGICAL, minItems=1)
)
SUPPRESSION = _object(["kind"], kind={"enum": ["inSource", "external"]}, justification=TEXT)
RESULT = _object(
    ["message", "ruleId", "level"],
    ruleId=TEXT,
    level={"enum": ["none", "note", "warning", "error"]},
    message=MESSAGE,
    locations=_list(LOCATION, maxItems=1),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    suppressions=_list(SUPPRESSION),
)
RULE = _object(["id", "shortDescription"], id=TEXT, shortDescription=MESSAGE, help=MESSAGE)
DRIVER = _object(["name"], name=TEXT, semanticVersion=TEXT, rules=_list(RULE, uniqueItems=True))
NOTIFICATION = _object(["message"], message=MESSAGE, level={"enum": ["none", "note", "warning", "error"]})
INVOCATION = _object(
    ["executionSuccessful"],
    executionSuccessful={"type": "boolean"},
    toolExecutionNotifications=_list(NOTIFICATION),
)
RUN = _object(
    ["tool"],
    tool=_object(["driver"], driver=DRIVER),
    columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
    results=_list(RESULT),
    invocations=_list(INVOCATION),
)
SARIF: dict[str, JsonValue] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "runs"],
    "properties": {"$schema": TEXT, "version": {"const": "2.1.0"}, "runs": _list(RUN)},
}
"""The schema of a log."""
