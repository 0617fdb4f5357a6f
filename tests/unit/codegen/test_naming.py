"""Contract names become Python names by one rule."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trellis_codegen import naming


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reserve-inventory", "reserve_inventory"),
        ("reserveInventory", "reserve_inventory"),
        ("Reserve.Inventory", "reserve_inventory"),
        ("orderID", "order_id"),
        ("HTTPServer", "http_server"),
        ("jobs.ListDLQ", "jobs_list_dlq"),
        ("sha256Sum", "sha256_sum"),
        ("2fa", "n2fa"),
        ("__init__", "init"),
        ("café", "cafe"),
        ("größe", "grosse"),
        ("Łódź", "lodz"),
        ("ﬁle", "file"),
        ("名前", ""),
        ("--", ""),
    ],
)
def test_any_spelling_becomes_snake_case(name: str, expected: str) -> None:
    assert naming.snake(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("reserve-inventory", "ReserveInventory"),
        ("list-DLQ", "ListDLQ"),
        ("orderId", "OrderId"),
        ("2fa", "N2fa"),
    ],
)
def test_a_class_keeps_the_capitals_of_its_name(name: str, expected: str) -> None:
    assert naming.pascal(name) == expected


@pytest.mark.parametrize("name", ["class", "import", "async", "None"])
def test_a_keyword_gets_a_trailing_underscore(name: str) -> None:
    assert naming.attribute(name) in (f"{name}_", name.lower())
    assert not keyword.iskeyword(naming.attribute(name))


@pytest.mark.parametrize("name", ["copy", "json", "schema", "list", "date", "model_dump", "modelFields"])
def test_a_field_hides_neither_pydantic_nor_a_type(name: str) -> None:
    assert naming.field(name) == f"{naming.snake(name)}_"


@pytest.mark.parametrize("name", ["Runtime", "model", "JobQueue", "TypeAlias", "True"])
def test_a_class_hides_nothing_that_its_module_imports(name: str) -> None:
    assert naming.class_name(name) == f"{naming.pascal(name)}_"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("items", "Item"),
        ("addresses", "Address"),
        ("entries", "Entry"),
        ("boxes", "Box"),
        ("ties", "Tie"),
        ("status", "StatusItem"),
        ("history", "HistoryItem"),
        ("analysis", "AnalysisItem"),
    ],
)
def test_an_element_is_named_in_the_singular(name: str, expected: str) -> None:
    assert naming.singular(name) == expected


@pytest.mark.parametrize(
    ("contract_id", "expected"),
    [
        ("orders-service@v1", "orders"),
        ("trellis.jobs@v1", "trellis.jobs"),
        ("orders", "orders"),
        ("-service@v1", "-service"),
    ],
)
def test_a_contract_is_called_by_its_id_without_version_and_kind(contract_id: str, expected: str) -> None:
    assert naming.contract_stem(contract_id) == expected


@given(st.text())
def test_every_name_is_legal_or_empty(name: str) -> None:
    for each in (naming.attribute(name), naming.field(name), naming.class_name(name), naming.constant(name)):
        assert not each or (each.isidentifier() and each.isascii() and not keyword.iskeyword(each))


@given(st.text())
def test_a_python_name_stays_itself(name: str) -> None:
    assert naming.snake(naming.snake(name)) == naming.snake(name)
