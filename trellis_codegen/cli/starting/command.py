"""`trellis-gen init`: checks what is requested, asks for what is missing, and writes a project."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.findings import ProjectState
from trellis_codegen.cli.manifest_files import STDIN
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.requests import Format
from trellis_codegen.cli.starting.names import find_name_problem, suggest_project_name
from trellis_codegen.cli.starting.requests import InitRequest, Template
from trellis_codegen.output.files import OutputRefused
from trellis_codegen.output.new_files import check_absence, write_new_files

if TYPE_CHECKING:
    from trellis_codegen.cli.starting.project import Project

__all__ = ["run"]

_CURRENT = Path()
_QUESTIONS = {
    Template.JOBS: "a service with job queues",
    Template.RPC: "a service with RPCs and jobs",
    Template.CLIENT: "a program that calls another service",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Choice:
    """Everything that decides a project."""

    name: str
    template: Template
    folder: Path
    contract: Path | None


class _Refused(Exception):
    """A choice cannot be used, for the reason that is the message."""


def run(request: InitRequest) -> ExitCode:
    """Write a project, or list its files."""
    reporter = Reporter(request.format, quiet=request.quiet)
    code = _run(request, reporter)
    reporter.finish()
    return code


def _run(request: InitRequest, reporter: Reporter) -> ExitCode:
    try:
        choice = _choose(request)
    except _Refused as refusal:
        reporter.report_refusal(str(refusal))
        return ExitCode.USAGE
    from trellis_codegen.cli.starting.making import (  # noqa: PLC0415 - a second of imports
        make_client_project,
        make_service_project,
    )

    if choice.contract is None:
        project = make_service_project(choice.name, choice.template)
    else:
        made = make_client_project(choice.name, choice.contract, reporter)
        if isinstance(made, ExitCode):
            return made
        project = made
    try:
        if request.is_preview:
            check_absence(choice.folder, project.files)
        else:
            write_new_files(choice.folder, project.files)
    except OutputRefused as error:
        reporter.report_refusal(str(error))
        return ExitCode.REFUSED
    _report(project, choice, request, reporter)
    return ExitCode.OK


def _choose(request: InitRequest) -> _Choice:
    """Return what the request gives, what the user answers, and defaults for the rest.

    Raises:
        _Refused: a choice cannot be used.
    """
    asks = request.may_ask and request.format is Format.TEXT and sys.stdin.isatty() and sys.stderr.isatty()
    name = request.name
    here = _CURRENT.absolute().name
    if name is None:
        default = suggest_project_name(here)
        name = _ask("Name of the project", default, find_name_problem) if asks else here
    problem = find_name_problem(name)
    if problem is not None:
        whose = f'"{name}"' if request.name is not None else f'the name of this folder, "{name}",'
        raise _Refused(f"{whose} {problem}; try: trellis-gen init {suggest_project_name(name)}")
    template, contract = request.template, request.contract
    if template is None:
        template = Template.JOBS if contract is None else Template.CLIENT
        if asks and contract is None:
            for choice, words in _QUESTIONS.items():
                sys.stderr.write(f"  {choice:<8} {words}\n")
            template = Template(_ask("Template", template, _find_template_problem))
    if template is Template.CLIENT and contract is None:
        if not asks:
            raise _Refused(
                "a client calls a service: name its contract, as in --contract ../orders/orders.manifest.json"
            )
        contract = Path(_ask("Contract of the service", "", _find_contract_problem))
    if template is not Template.CLIENT and contract is not None:
        raise _Refused(
            f"--contract is for --template client; the template {template} writes a contract of its own"
        )
    if contract == STDIN:
        raise _Refused("--contract needs a file, of which the project gets a copy; standard input is none")
    folder = request.out or (_CURRENT if request.name is None else Path(request.name))
    return _Choice(name=name, template=template, folder=folder, contract=contract)


def _ask(question: str, default: str, find_problem: Callable[[str], str | None]) -> str:
    """Ask on the terminal until the answer can be used; an empty one is the default."""
    while True:
        sys.stderr.write(f"{question} [{default}]: " if default else f"{question}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:  # Ctrl-D
            sys.stderr.write("\n")
            raise KeyboardInterrupt
        answer = line.strip() or default
        problem = find_problem(answer)
        if problem is None:
            return answer
        sys.stderr.write(f'"{answer}" {problem}\n')


def _find_template_problem(answer: str) -> str | None:
    return None if answer in [*Template] else f"is not a template: choose {', '.join(Template)}"


def _find_contract_problem(answer: str) -> str | None:
    return None if Path(answer).is_file() else "is not a file: name a manifest"


def _report(project: Project, choice: _Choice, request: InitRequest, reporter: Reporter) -> None:
    commands = _list_commands(choice.folder)
    state = ProjectState(
        name=choice.name,
        template=choice.template,
        folder=choice.folder.as_posix(),
        files=tuple(project.files),
        written=not request.is_preview,
        commands=commands,
    )
    reporter.report_project(state)
    if request.is_preview:
        reporter.print_result(f"write {(choice.folder / name).as_posix()}" for name in project.files)
        return
    width = max(map(len, project.own_files))
    count = sum(name.startswith(f"{project.package}/") for name in project.files)
    lines = [f"wrote {choice.name}:"]
    lines += [f"  {name:<{width}}  {purpose}".rstrip() for name, purpose in project.own_files.items()]
    lines += [f"  {project.package:<{width}}  generated from the contract, {count} files"]
    lines += ["", "Next:", *(f"  {command}" for command in commands), "README.md has the other commands."]
    reporter.print_note("\n".join(lines))


def _list_commands(folder: Path) -> tuple[str, ...]:
    """Return what to run after the project is written."""
    is_inside = os.environ.get("VIRTUAL_ENV") is not None
    return (
        *([] if folder.resolve() == _CURRENT.resolve() else [f"cd {folder.as_posix()}"]),
        *([] if is_inside else ["python -m venv .venv && . .venv/bin/activate"]),
        "python -m pip install --upgrade pip && python -m pip install --group dev",
        "python demo.py",
        "pytest",
    )
