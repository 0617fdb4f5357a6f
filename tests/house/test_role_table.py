"""The table of roles in the guide to security is what `permissions` returns."""

from __future__ import annotations

from tests.house.role_table import PAGE, role_table


def test_the_table_of_roles_is_fresh() -> None:
    assert role_table() in PAGE.read_text(), "replace it by what `python -m tests.house.role_table` prints"
