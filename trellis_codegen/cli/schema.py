"""`trellis-gen schema`: the JSON Schema of manifests, for editors."""

from __future__ import annotations

import json

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.editor_schema import editor_schema

__all__ = ["run"]


def run() -> ExitCode:
    """Print the schema."""
    Reporter().print_result([json.dumps(editor_schema(), indent=2, ensure_ascii=False)])
    return ExitCode.OK
