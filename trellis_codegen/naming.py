"""Turns the names of a contract into Python names.

One rule for all of them: a name is split into words, and the words are joined again as `snake_case` for attributes,
functions and modules, or as `PascalCase` for classes. A name without letters and digits has no Python name.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from typing import Self

__all__ = [
    "GROUPED_SECTIONS",
    "StatedName",
    "attribute",
    "class_name",
    "constant",
    "contract_stem",
    "default_package",
    "field",
    "pascal",
    "pascal_field",
    "singular",
    "snake",
    "spell",
    "suggest_name",
]

GROUPED_SECTIONS = frozenset(["events", "feeds", "operations", "rpc"])
"""The sections of a contract in which a name with a dot stands in a group: `Orders.Create` becomes `orders.create`."""

_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[^A-Za-z0-9]+")

_LETTERS = str.maketrans(
    {"ß": "ss", "ẞ": "SS", "Æ": "AE", "æ": "ae", "Œ": "OE", "œ": "oe", "Ø": "O", "ø": "o", "Ł": "L", "ł": "l", "Đ": "D", "đ": "d", "Þ": "TH",
     "þ": "th", "Ð": "D", "ð": "d"}
)  # fmt: skip
"""Latin letters without an accent to drop."""

_SPOKEN = {
    " ": "space", "!": "bang", '"': "quote", "#": "hash", "$": "dollar", "%": "percent", "&": "and", "'": "quote", "(": "open", ")": "close",
    "*": "star", "+": "plus", ",": "comma", "-": "minus", ".": "dot", "/": "slash", ":": "colon", ";": "semicolon", "<": "less", "=": "equals",
    ">": "greater", "?": "question", "@": "at", "[": "open", "\\": "backslash", "]": "close", "^": "caret", "_": "underscore", "`": "backtick",
    "{": "open", "|": "bar", "}": "close", "~": "tilde",
}  # fmt: skip

# A model's field may not hide what pydantic's BaseModel and its metaclass have, nor a type that annotations of the class use.
_FIELD_NAMES = frozenset(
    """
    construct copy dict from_orm json parse_file parse_obj parse_raw schema schema_json update_forward_refs validate
    model_computed_fields model_config model_construct model_copy model_dump model_dump_json model_extra model_fields
    model_fields_set model_json_schema model_parametrized_name model_post_init model_rebuild model_validate
    model_validate_json model_validate_strings
    mro register
    bool date float int list str tuple
    """.split(),  # noqa: SIM905 - a long word list reads better this way
)

# A class may not hide what the generated modules import, nor the containers that each surface has.
_CLASS_NAMES = frozenset(
    """
    False None True
    Annotated AwareDatetime AwareTime ClassVar Exact ExactDate ExactUUID Field Final Integer JsonValue Literal NotNull Number
    OneOf StringConstraints TypeAlias TypeAliasType UUID
    ActiveJob ActiveOperation ActiveUpload Bucket BucketSpec CONTRACT Client ConsumerGroup Contract DeclaredError DownloadCall
    DownloadEndpoint DownloadSpec EventChannel EventOutlet EventPublisher EventSource EventSpec FeedCall FeedEndpoint FeedSpec GroupEvent GroupSpec
    JobQueue JobSpec Jobs KeySpec Model OldStateEntry OperationCall OperationCapabilities OperationEndpoint OperationRun OperationSignal OperationSpec
    RpcCall RpcEndpoint RpcSpec Runtime Service SignalCall StateMap StateSpec StateValue Store StoreSpec UploadCall
    UploadEndpoint UploadSpec
    Buckets ConsumerGroups EventPublishers EventSources FeedCalls FeedEndpoints JobsFacade OperationCalls OperationEndpoints RpcCalls
    RpcEndpoints StateStores Stores
    """.split(),  # noqa: SIM905 - likewise
)


class StatedName(str):
    """A name of the contract whose Python name the project states: equal to the plain name everywhere else."""

    __slots__ = ("spelling",)

    spelling: str
    """What its Python names are made of."""

    def __new__(cls, name: str, spelling: str) -> Self:
        """Return `name` with a spelling for Python."""
        self = super().__new__(cls, name)
        self.spelling = spelling
        return self


def spell(name: str) -> str:
    """Return what the Python names of a name are made of: the name itself, unless another is stated."""
    return name.spelling if isinstance(name, StatedName) else name


def suggest_name(name: str) -> str:
    """Return a Python name for a name that has none, or not one of its own: `@id` becomes `at_id`."""
    pieces = [found[0] for found in re.finditer(r"[A-Za-z0-9]+|[^A-Za-z0-9]", name)]
    return snake("_".join(_SPOKEN.get(piece, piece) for piece in pieces)) or "a_name"


def snake(name: str) -> str:
    """Return `name` in snake_case, or an empty string when no letter or digit is left of it.

    `reserve-inventory`, `reserveInventory` and `Reserve.Inventory` all become `reserve_inventory`; `HTTPServer` becomes
    `http_server`. A leading digit gets an `n`: `2fa` becomes `n2fa`. Accents are dropped, other scripts are separators.
    """
    words = (word for part in _parts(name) for word in _CAMEL_HUMP.split(part))
    return _letter_first("_".join(words).lower())


def pascal(name: str) -> str:
    """Return `name` in PascalCase, keeping its own capitals: `list-DLQ` becomes `ListDLQ`."""
    return _letter_first("".join(part[0].upper() + part[1:] for part in _parts(name)), digit_prefix="N")


def attribute(name: str) -> str:
    """Return the name of an attribute, function or module: snake_case, and a keyword gets a trailing underscore."""
    return _unreserved(snake(name), frozenset())


def field(name: str) -> str:
    """Return the name of a model's field: an attribute that hides nothing of pydantic's and no type.

    Properties may have any name, so one of punctuation alone is spelled out: `_` becomes `underscore`.
    """
    return _unreserved(snake(name) or _spell_out(name), _FIELD_NAMES)


def pascal_field(name: str) -> str:
    """Return the name of a property in PascalCase, as a part of the name of the object in it."""
    return pascal(name) or pascal(_spell_out(name))


def class_name(name: str) -> str:
    """Return the name of a class: PascalCase, and what generated modules import gets a trailing underscore."""
    return _unreserved(pascal(name), _CLASS_NAMES)


def constant(name: str) -> str:
    """Return the name of a module's constant: `Orders.Create` becomes `ORDERS_CREATE`."""
    return snake(name).upper()


def contract_stem(contract_id: str) -> str:
    """Return what is left of a contract id without `@vN` and a trailing `-service`."""
    name = contract_id.partition("@")[0]
    return name.removesuffix("-service") or name


def default_package(contract_id: str) -> str:
    """Return the name of a contract's package: `orders-service@v1` gives `orders_participant`.

    From the second version on, the version is a part of it, so that two versions do not replace each other: `orders_v2_participant`.
    """
    version = contract_id.rpartition("@")[2]
    middle = "" if version == "v1" or "@" not in contract_id else f"{snake(version)}_"
    return f"{snake(contract_stem(contract_id))}_{middle}participant"


def singular(name: str) -> str:
    """Return the PascalCase name of one element of the array `name`: `items` becomes `Item`, `history` `HistoryItem`."""
    word = pascal_field(name)
    if word.endswith("ies") and len(word) > len("ties"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 1:
        return word[:-1]
    return f"{word}Item"


def _parts(name: str) -> list[str]:
    """Split at every character that is not an ASCII letter or digit, after folding look-alikes and dropping accents."""
    decomposed = unicodedata.normalize("NFKD", spell(name).translate(_LETTERS))
    bare = "".join(character for character in decomposed if not unicodedata.combining(character))
    return [part for part in _SEPARATORS.split(bare) if part]


def _spell_out(name: str) -> str:
    """Return the words for a name of ASCII punctuation; empty for anything else."""
    words = [_SPOKEN.get(sign, "") for sign in name]
    return "" if not all(words) else "_".join(words) or "empty"


def _letter_first(name: str, *, digit_prefix: str = "n") -> str:
    return digit_prefix + name if name[:1].isdigit() else name


def _unreserved(name: str, reserved: frozenset[str]) -> str:
    return f"{name}_" if keyword.iskeyword(name) or name in reserved else name
