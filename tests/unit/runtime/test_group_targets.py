"""What a group can run, and how it refuses the rest: the command line and the function that it names."""

import inspect
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from trellis_nats._support import process_group
from trellis_nats.run import __main__ as command_line
from trellis_nats.run.one_process import FunctionNotFound, find_function


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("no_such_module:main", "there is no module no_such_module, neither in "),
        ("tests.no_such_module:main", "there is no module tests.no_such_module, neither in "),
        (".support.probe:main", 'the module ".support.probe" must have its full name, without a leading dot'),
        ("tests.support.probe:main", "has no function main"),
        ("sys:main", "module sys has no function main"),
        ("tests.support.probe:__all__", "tests.support.probe:__all__ is of the type list; name a function "),
        ("builtins:dict", "builtins:dict is a class; name a function that runs the service, as in main:main"),
        ("builtins:min", "builtins:min is compiled, and does not say which arguments it takes"),
        ("tests.support.probe:is_ready", "must take no arguments: missing a required argument: 'address'"),
    ],
)
def test_a_function_that_is_not_found_is_named(target: str, text: str) -> None:
    with pytest.raises(FunctionNotFound) as caught:
        find_function(*target.split(":"))

    assert text in str(caught.value)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path / "own_module.py"
    sys.modules.pop("own_module", None)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("async def main(): yield", "is a generator function, as it has a `yield`; name a function "),
        ("def main(): yield", "is a generator function, as it has a `yield`; name a function "),
        ("main = None", "own_module:main is of the type NoneType; name a function "),
    ],
)
def test_what_runs_nothing_is_refused(own_module: Path, source: str, text: str) -> None:
    own_module.write_text(source)

    with pytest.raises(FunctionNotFound) as caught:
        find_function("own_module", "main")

    assert text in str(caught.value)


def test_a_coroutine_in_place_of_its_function_is_refused(own_module: Path) -> None:
    own_module.write_text("async def run(): pass\nmain = run()")

    with pytest.raises(FunctionNotFound, match="is a coroutine, the result of a call"):
        find_function("own_module", "main")

    sys.modules["own_module"].main.close()


@pytest.mark.parametrize(
    "source",
    [
        "import functools\nasync def run(n): pass\nmain = functools.partial(run, 1)",
        "class Runner:\n    async def __call__(self): pass\nmain = Runner()",
    ],
)
def test_whatever_can_be_called_without_arguments_runs(own_module: Path, source: str) -> None:
    own_module.write_text(source)

    coroutine = find_function("own_module", "main")()

    assert inspect.iscoroutine(coroutine)
    coroutine.close()


@pytest.mark.parametrize(
    ("source", "error", "text"),
    [
        ("import no_such_module", ModuleNotFoundError, "the import of module own_module failed"),
        ("1 / 0", ZeroDivisionError, "the import of module own_module failed"),
        ("raise SystemExit(0)", SystemExit, "module own_module exits while it is imported: SystemExit(0)"),
    ],
)
def test_what_an_import_raises_is_not_hidden(
    own_module: Path, source: str, error: type[BaseException], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own_module.write_text(source)

    with pytest.raises(error):
        find_function("own_module", "main")

    assert capsys.readouterr().err == f"python -m trellis_nats.run: {text}\n"


@pytest.mark.parametrize("target", ["", "main", ":main", "main:", "main:a:b", "main.py:main", "./main:main"])
def test_a_target_of_another_form_is_refused(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", target, "--processes", "2"])

    with pytest.raises(SystemExit) as caught:
        command_line.main()

    assert caught.value.code == 2
    assert f'"{target}" is not MODULE:FUNCTION, as in main:main' in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_a_limit_that_cannot_be_waited_for_is_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "main:main", "--processes", "1", "--kill-after", seconds])

    with pytest.raises(SystemExit) as caught:
        command_line.main()

    assert caught.value.code == 2
    assert "--kill-after must be more than 0 and at most " in capsys.readouterr().err


def test_a_process_of_a_group_does_not_start_another_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "__main__:main", "--processes", "2"])
    ours, its = socket.socketpair()
    with ours, its:
        monkeypatch.setattr(process_group, "_link", its)
        with pytest.raises(SystemExit) as caught:
            command_line.main()

    assert caught.value.code == 2
    assert "__main__:main is this command itself" in capsys.readouterr().err
