"""Writes the Python of the pages as modules for type checkers: what a page shows must fit the generated package."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Final

__all__ = ["page_files"]

_ROOT: Final = Path(__file__).parents[2]
_ELSEWHERE: Final = {
    "testing.md": "a test runs its blocks as a module of tests",
    "changing-a-contract.md": "a test runs its blocks",
    "state.md": "it is about a device",
    "stores.md": "its service has stores, and that of the orders has none",
}
"""Pages whose code is checked in another way."""
_OF_OTHERS: Final = re.compile(r"\bphotos\b|\.objects\b")
"""A service of the contract everything, in a page about that of the orders; a model of Django, which an example has."""
_IMPORTED: Final = {"trellis_nats", "orders_participant", "pydantic", "ulid"}
"""Blocks that import more are those of examples and of programs that tests run."""
_STANDARD: Final = {
    *("asyncio", "atexit", "collections", "contextlib", "datetime", "enum", "functools", "itertools", "json"),
    *("logging", "os", "pathlib", "ssl", "sys", "threading", "time", "typing", "urllib", "zoneinfo"),
}

_HEAD: Final = "# pyright: basic\nfrom given import *\n"
_GIVEN: Final = """
import asyncio as asyncio
import json as json
import os as os
from collections.abc import AsyncIterator as AsyncIterator
from datetime import UTC as UTC, datetime as datetime, timedelta as timedelta
from pathlib import Path as Path
from typing import Any

from orders_participant import *
from trellis_nats import *
from trellis_nats.testing import *

service: OrdersService
client: OrdersClient
ref: JobRef[ChargePaymentPayload, ChargePaymentResult, None]
url: str
password: str
order_id: str
job_id: str
file_digest: str
items: list[OrderItem]
ITEMS: list[OrderItem]
payload: Any
payloads: list[ChargePaymentPayload]
request: CreateOrderRequest
customers: Any
gateway: Any
mirror: Any
operator: Any
page: Any
pool: Any
stock: Any
charge_payment: Any
notify_warehouse: Any

def register_jobs(service: OrdersService, gateway: Any = ...) -> None: ...
def orders_service() -> OrdersService: ...
def read_pages(payload: object, *, skip: int) -> AsyncIterator[list[ChargePaymentPayload]]: ...
async def create_jobs_of(page: list[ChargePaymentPayload], *, import_id: str) -> None: ...
async def store_order(customer: object, request: CreateOrderRequest) -> CreateOrderResponse: ...
"""
"""What the blocks take as given."""


def page_files() -> dict[str, str]:
    """Return the files by name: one for each page with Python, in which each block is a function, and what is given."""
    found = {"given.py": "", "given.pyi": _GIVEN, "page_fastapi.py": _join_fastapi()}
    for page in (_ROOT / "README.md", *sorted((_ROOT / "docs").rglob("*.md"))):
        blocks = [
            block
            for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
            if _is_ours(block)
        ]
        if blocks and page.name not in _ELSEWHERE:
            functions = [
                f"async def block_{number}() -> None:\n{textwrap.indent(block, '    ')}"
                for number, block in enumerate(blocks, start=1)
            ]
            name = "_".join(page.relative_to(_ROOT).with_suffix("").parts).replace("-", "_")
            found[f"page_{name.lower()}.py"] = "\n\n".join([_HEAD, *functions]).replace("[...]", "[]")
    return found


def _join_fastapi() -> str:
    """Return the blocks about FastAPI as the one module that they make, in which each uses what those before it define."""
    page = (_ROOT / "docs/guides/web-apps.md").read_text()
    blocks = [
        block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "from fastapi" in block
    ]
    return "\n\n".join([_HEAD, *blocks])


def _is_ours(block: str) -> bool:
    tree = compile(block, "block", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    modules = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return modules <= _IMPORTED | _STANDARD and _OF_OTHERS.search(block) is None
