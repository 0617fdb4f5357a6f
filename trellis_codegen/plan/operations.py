"""Operations: the name and the types of each, and its signals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trellis_codegen import naming
from trellis_codegen.contract.exchange import Operation, OperationCapabilities, SendTransfer, Signal
from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.plan.collisions import Claim
from trellis_codegen.plan.grouping import Surface, group_names
from trellis_codegen.plan.models import ModelsPlan
from trellis_codegen.plan.surfaces import list_declared
from trellis_codegen.plan.wording import (
    Argument,
    choose_text,
    describe,
    describe_capabilities,
    describe_errors,
    write_call,
    write_duration,
    write_tuple,
)

__all__ = ["OperationPlan", "SignalPlan", "claim_operation_classes", "claim_signal_names", "plan_operations"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalPlan:
    """One signal of an operation."""

    name: str
    attribute: str
    class_name: str
    input: str
    docstring: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationPlan:
    """One operation."""

    name: str
    input: str
    output: str
    progress: str | None
    """None: the contract declares no progress."""
    signals: tuple[SignalPlan, ...]
    alias: str
    """What its handler receives."""
    run_class: str
    """What its callers hold."""
    signals_class: str
    """The signals as callers send them; only where there are some."""
    has_upload: bool
    """Whether its caller uploads an object."""
    errors: tuple[str, ...]
    """The classes of the errors that it lists; of all errors of the contract where it lists none."""
    spec: tuple[Argument, ...]
    docstring: str

    @property
    def kind(self) -> str:
        """What the runtime's classes for it are called: `Operation`, or `Upload` where its caller uploads an object."""
        return "Upload" if self.has_upload else "Operation"

    @property
    def types(self) -> tuple[str, str, str, str]:
        """Input, progress, output, and signals, as the handler's side is generic in them."""
        signals = " | ".join(signal.class_name for signal in self.signals)
        return (self.input, self.sent_progress, self.output, signals or "None")

    @property
    def sent_progress(self) -> str:
        """The type of its progress. `Never`, where the contract declares none: then nothing can be sent."""
        return self.progress or "_Never"

    @property
    def model_names(self) -> frozenset[str]:
        """The models among its types."""
        inputs = [signal.input for signal in self.signals]
        return frozenset([self.input, self.output, *inputs, *([self.progress] if self.progress else [])])

    @property
    def runtime_names(self) -> frozenset[str]:
        """What its code needs from outside the package, in addition to what each operation needs."""
        signals = ["ClassVar", "OperationSignal", "SignalCall"] if self.signals else []
        never = [] if self.progress else ["_Never"]
        return frozenset([*signals, *never, *(use for argument in self.spec for use in argument.uses)])

    @property
    def exported(self) -> tuple[str, ...]:
        """What users import."""
        return (self.alias, *self.exported_to_callers)

    @property
    def exported_to_callers(self) -> tuple[str, ...]:
        """What users of the client half import."""
        return (self.run_class, *(signal.class_name for signal in self.signals))


def claim_signal_names(manifest: Manifest) -> Iterator[Claim]:
    """Yield the Python names that the signals of each operation need."""
    for name, operation in (manifest.operations or {}).items():
        for signal in operation.signals or {}:
            place = f"operations.{naming.snake(name)}.signal"
            yield Claim(f"{place}.{naming.attribute(signal)}", ("operations", name, "signals", signal))


def claim_operation_classes(surface: Surface[OperationPlan]) -> Iterator[Claim]:
    """Yield the class names that users import; `SignalPlan`s with one class name are of one operation or of two."""
    for member in surface.members:
        for class_name in member.plan.exported:
            yield Claim(class_name, ("operations", member.name))
        if member.plan.signals:
            yield Claim(member.plan.signals_class, ("operations", member.name))


def plan_operations(manifest: Manifest, models: ModelsPlan) -> Surface[OperationPlan]:
    """Plan the operations. Each plan serves both halves: that of the service, and that of its clients."""
    declared = {error.error_type: naming.class_name(error.error_type) for _, error in list_declared(manifest)}
    return group_names(
        (name, _operation(name, operation, models, declared))
        for name, operation in (manifest.operations or {}).items()
    )


def _operation(
    name: str, operation: Operation, models: ModelsPlan, declared: dict[str, str]
) -> OperationPlan:
    stem = naming.pascal(name)
    listed = [error.error_type for error in operation.errors or []] or list(declared)
    errors = tuple(declared[error_type] for error_type in dict.fromkeys(listed) if error_type in declared)
    signals = tuple(
        _signal(stem, signal_name, signal, models)
        for signal_name, signal in (operation.signals or {}).items()
    )
    progress = models.type_name(operation.progress.schema_name) if operation.progress else None
    return OperationPlan(
        name=name,
        input=models.type_name(operation.input.schema_name),
        output=models.type_name(operation.output.schema_name),
        progress=progress,
        signals=signals,
        alias=naming.class_name(f"{stem}Operation"),
        run_class=naming.class_name(f"{stem}Run"),
        signals_class=naming.class_name(f"{stem}Signals"),
        has_upload=operation.transfer is not None,
        errors=errors,
        spec=tuple(_spec(name, operation, models, progress, signals, errors)),
        docstring=describe(
            operation.docs,
            f"The `{name}` operation.",
            None if operation.transfer is None else _describe_upload(operation.transfer),
            describe_capabilities(operation.capabilities.call if operation.capabilities else None),
            "Callers can cancel it." if operation.cancel else None,
            describe_errors(errors if operation.errors else ()),
        ),
    )


def _describe_upload(transfer: SendTransfer) -> str:
    limit = "" if transfer.max_bytes is None else f", at most {transfer.max_bytes:,} bytes"
    return f"Its caller uploads an object to the store `{transfer.store}`{limit}."


def _signal(stem: str, name: str, signal: Signal, models: ModelsPlan) -> SignalPlan:
    return SignalPlan(
        name=name,
        attribute=naming.attribute(name),
        class_name=naming.class_name(f"{stem}{naming.pascal(name)}Signal"),
        input=models.type_name(signal.input.schema_name),
        docstring=choose_text(signal.docs, f"The `{name}` signal."),
    )


def _spec(
    name: str,
    operation: Operation,
    models: ModelsPlan,
    progress: str | None,
    signals: tuple[SignalPlan, ...],
    errors: tuple[str, ...],
) -> Iterator[Argument]:
    yield Argument(name="name", value=repr(name))
    yield Argument(name="subject", value=repr(operation.subject))
    yield Argument(name="input", value=models.type_name(operation.input.schema_name))
    yield Argument(name="output", value=models.type_name(operation.output.schema_name))
    if progress:
        yield Argument(name="progress", value=progress)
    if signals:
        yield write_tuple("signals", (signal.class_name for signal in signals))
    if operation.cancel is not None:
        yield Argument(name="cancel", value=str(operation.cancel))
    if errors:
        yield write_tuple("errors", errors)
    if operation.transfer is not None:
        yield write_call("upload", "UploadSpec", _upload(operation.transfer))
    if operation.capabilities is not None and (capabilities := [*_capabilities(operation.capabilities)]):
        yield write_call("capabilities", "OperationCapabilities", capabilities)


def _capabilities(capabilities: OperationCapabilities) -> Iterator[Argument]:
    if capabilities.call:
        yield write_tuple("call", map(repr, capabilities.call))
    if capabilities.observe or (capabilities.call and capabilities.observe is not None):
        yield write_tuple("observe", map(repr, capabilities.observe))
    if capabilities.cancel:
        yield write_tuple("cancel", map(repr, capabilities.cancel))
    if capabilities.control:
        yield write_tuple("control", map(repr, capabilities.control))


def _upload(transfer: SendTransfer) -> Iterator[Argument]:
    yield Argument(name="store", value=repr(transfer.store))
    yield Argument(name="key", value=repr(transfer.key))
    if transfer.content_type is not None:
        yield Argument(name="content_type", value=repr(transfer.content_type))
    if transfer.metadata is not None:
        yield Argument(name="metadata", value=repr(transfer.metadata))
    if transfer.expires_in_ms is not None:
        yield write_duration("expires_in", transfer.expires_in_ms)
    if transfer.max_bytes is not None:
        yield Argument(name="max_bytes", value=str(transfer.max_bytes))
