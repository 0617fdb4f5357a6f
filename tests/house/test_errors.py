"""docs/reference/errors.md lists the errors of the runtime, each with a remedy and at the place that the error names."""

import re
import traceback

from trellis_nats import errors
from trellis_nats.errors import (
    CannotConnect,
    ConfigurationError,
    DeclaredError,
    JobNotFound,
    NoResponders,
    PermissionDenied,
    ProvisioningError,
)

from tests.house.error_reference import (
    PAGE,
    draw_tree,
    error_texts,
    list_classes,
    reference_page,
    split_docstring,
)
from trellis_codegen.cli.explain import ERROR_TEXTS


def test_the_error_reference_is_fresh() -> None:
    assert reference_page() == PAGE.read_text(encoding="utf-8"), "run make generate"
    assert error_texts() == ERROR_TEXTS.read_text(encoding="utf-8"), "run make generate"


def test_every_error_has_a_place_and_a_remedy() -> None:
    classes, page = list_classes(), reference_page()

    assert {error.__name__ for error in classes} == {*errors.__all__}
    for error in classes:
        meaning, remedy = split_docstring(error)
        assert meaning
        assert remedy.endswith((".", ")")), error.__name__
        anchor = error.docs.removeprefix("reference/errors.md#")
        assert f"\n## {error.__name__}\n" in page
        assert anchor == error.__name__.lower()


def test_the_tree_of_the_module_names_every_error() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")

    assert sorted(drawn) == sorted(re.findall(r"[├└]── (\w+)", draw_tree()))


def test_a_generated_error_has_the_place_of_its_base() -> None:
    class NotFoundError(DeclaredError):
        """One of a contract."""

    assert NotFoundError.docs == DeclaredError.docs == "reference/errors.md#declarederror"


def test_a_traceback_of_a_mistake_ends_with_its_remedy() -> None:
    mistakes = [
        ConfigurationError("wrong"),
        ProvisioningError(["a stream is missing"]),
        CannotConnect("no"),
        NoResponders('no process listens on "rpc.v1.Orders.Create"'),
        PermissionDenied("publish to", "trellis.jobs.shop.pack.J1.created"),
    ]

    for error in mistakes:
        text = "".join(traceback.format_exception(error))
        name = type(error).__name__
        remedy = split_docstring(type(error))[1]
        assert text.endswith(f"\nRemedy: {remedy} (help(trellis_nats.{name}) says what it means)\n")
        assert text.count("Remedy: ") == 1
    assert "Remedy: " not in "".join(traceback.format_exception(JobNotFound("j")))
