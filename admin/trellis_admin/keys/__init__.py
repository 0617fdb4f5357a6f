"""Concurrency keys: which job holds one, until when, which jobs wait, and how to release one whose owner is gone."""

from trellis_admin.keys.releasing import KeyProblem, Released
from trellis_admin.keys.stored_keys import Holder, KeyActions, KeyCount, KeyList, KeyState, StoredKey, Waiting

__all__ = [
    "Holder",
    "KeyActions",
    "KeyCount",
    "KeyList",
    "KeyProblem",
    "KeyState",
    "Released",
    "StoredKey",
    "Waiting",
]
