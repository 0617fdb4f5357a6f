"""Makes a project: of a new contract, or for the contract of the service that a client calls."""

from __future__ import annotations

from pathlib import Path

from trellis_codegen.cli.building import build_package
from trellis_codegen.cli.exits import ExitCode
from trellis_codegen.cli.generation import make_findings, make_inputs
from trellis_codegen.cli.manifest_files import read_manifest_bytes
from trellis_codegen.cli.other_contracts import OtherFiles, find_other_files, read_other_contracts
from trellis_codegen.cli.reporter import Reporter
from trellis_codegen.cli.starting.calls import find_sample_call
from trellis_codegen.cli.starting.project import Project, render_manifest, render_project
from trellis_codegen.cli.starting.requests import Template
from trellis_codegen.cli.targets import OtherSource, Target
from trellis_codegen.contract.fingerprint import summarize_manifest
from trellis_codegen.contract.reading import read_manifest
from trellis_codegen.contract.uses import OtherContracts
from trellis_codegen.problems import ProblemsFound

__all__ = ["make_client_project", "make_service_project"]


def make_service_project(name: str, template: Template) -> Project:
    """Return the project of a new service."""
    manifest = Path(f"contracts/{name}.manifest.json")
    text = render_manifest(name, template)
    data = text.encode()
    inputs = make_inputs(Target(manifest=manifest), summarize_manifest(data), OtherFiles())
    built = build_package(data, inputs, package=None, others=OtherContracts())
    return render_project(name, template, built, {manifest.as_posix(): text})


def make_client_project(name: str, manifest: Path, reporter: Reporter) -> Project | ExitCode:
    """Return the project of a client of a service, or the exit code if there can be none, which is reported.

    Contracts that the service uses are searched in the folder of its manifest.
    """
    target = Target(manifest=manifest)
    data = read_manifest_bytes(manifest, reporter)
    others = find_other_files((OtherSource(str(manifest.parent)),), reporter)
    if data is None or others is None:
        return ExitCode.USAGE
    seen = summarize_manifest(data)
    used = [contract_id for contract_id in (seen.used_ids if seen else ()) if contract_id in others.by_id]
    contracts = read_other_contracts(others, used, reporter)
    if contracts is None:
        return ExitCode.INVALID
    try:
        built = build_package(data, make_inputs(target, seen, others), package=None, others=contracts)
    except ProblemsFound as error:
        reporter.report_problems(make_findings(target, data, error.problems))
        reporter.print_note(f"{manifest.as_posix()}: the contract has errors; nothing was written")
        return ExitCode.INVALID
    reporter.report_problems(make_findings(target, data, built.warnings))
    call = find_sample_call(built.plan, read_manifest(data).manifest)
    if built.plan.service_class is None or call is None:
        lack = (
            f"is the contract of the {built.plan.kind}"
            if built.plan.service_class is None
            else "has no RPC to call"
        )
        reporter.report_refusal(
            f"{manifest}: {built.plan.contract_id} {lack}, and a new client begins with the RPC of a service; "
            f'"trellis-gen facade {manifest}" generates its package'
        )
        return ExitCode.USAGE
    paths = [manifest, *(others.by_id[contract_id].path for contract_id in used)]
    texts = {f"contracts/{path.name}": path.read_text(encoding="utf-8") for path in paths}
    return render_project(name, Template.CLIENT, built, texts, call=call)
