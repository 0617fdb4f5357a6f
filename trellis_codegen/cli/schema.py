"""`trellis-gen schema`: the JSON Schema of manifests, for editors, and the same as a page."""

from __future__ import annotations

import json

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.contract.editor_schema import editor_schema
from trellis_codegen.contract.reference_page import write_reference

__all__ = ["run"]


def run(*, as_markdown: bool) -> ExitCode:
    """Print the schema, or the reference of the members."""
    text = (
        write_reference().rstrip("\n")
        if as_markdown
        else json.dumps(editor_schema(), indent=2, ensure_ascii=False)
    )
    Reporter().print_result([text])
    return ExitCode.OK
