"""How drift is shown."""

from trellis_codegen.output.drift import Change, Drift, unified_diff


def changed(name: str, old: str, new: str) -> list[str]:
    return list(unified_diff("p", [Drift(name=name, change=Change.CHANGED, old=old, new=new)]))


def test_one_line_of_json_is_compared_member_by_member() -> None:
    diff = changed("contract.json", '{"a":1,"b":{"c":2,"d":3}}\n', '{"a":1,"b":{"c":2,"d":4}}\n')

    assert [line for line in diff if line[0] in "+-"] == [
        "--- p/contract.json",
        "+++ p/contract.json",
        '-  "d": 3',
        '+  "d": 4',
    ]


def test_json_that_cannot_be_read_is_compared_as_text() -> None:
    diff = changed("contract.json", "{ broken", '{"a":1}')

    assert [line for line in diff if line[0] in "+-"][2:] == ["-{ broken", "+{", '+ "a": 1', "+}"]
