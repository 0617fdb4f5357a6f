"""Session keys from files and from the environment: who may read them, and that no text shows a seed."""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trellis_nats import ConfigurationError, SessionKey
from trellis_nats.auth.owned_files import find_fault_of_rules, find_fault_of_secret

KEY = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
ME, OTHER, ROOT = 1000, 1001, 0


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as refused:
        SessionKey.from_file(path)
    shown = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    assert KEY.seed not in shown.replace(repr(KEY), "")
    return str(refused.value)


@pytest.mark.parametrize(
    "text",
    [KEY.seed, f"{KEY.seed}\n", f"# shop, until 2027\n\n  {KEY.seed}\r\n", f"{KEY.seed}\n# the end"],
)
def test_a_file_has_the_seed_on_one_line(tmp_path: Path, text: str) -> None:
    assert SessionKey.from_file(write(tmp_path / "key", text)).public == KEY.public
    assert SessionKey.from_file(str(tmp_path / "key")).public == KEY.public


def test_a_seed_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = write(tmp_path / "key", KEY.seed, 0o644)

    assert f"(mode 0644): chmod 600 {path}" in refusal(path)


def test_a_secret_of_kubernetes_is_read_through_its_links(tmp_path: Path) -> None:
    """A mounted secret is a link to `..data/key`, and `..data` is a link to the folder of this version."""
    version = tmp_path / "..2026_11_30"
    version.mkdir()
    write(version / "key", KEY.seed, 0o400)
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "key").symlink_to("..data/key")

    assert SessionKey.from_file(tmp_path / "key").public == KEY.public


@pytest.mark.parametrize(
    ("mode", "owner", "is_accepted"),
    [
        (0o600, ME, True),
        (0o400, ME, True),
        (0o400, ROOT, True),
        (0o440, ROOT, True),  # Kubernetes with fsGroup
        (0o640, ROOT, True),
        (0o440, ME, False),
        (0o460, ROOT, False),
        (0o444, ROOT, False),  # the default of Kubernetes and Docker
        (0o604, ME, False),
        (0o601, ME, False),
        (0o600, OTHER, False),
    ],
)
def test_only_the_owner_may_read_a_secret(mode: int, owner: int, *, is_accepted: bool) -> None:
    assert (find_fault_of_secret(mode, owner, ME) is None) is is_accepted


@pytest.mark.parametrize(
    ("mode", "owner", "is_accepted"),
    [
        (0o644, ME, True),
        (0o444, ROOT, True),
        (0o664, ME, False),
        (0o646, ROOT, False),
        (0o644, OTHER, False),
    ],
)
def test_only_the_owner_may_change_what_others_may_do(mode: int, owner: int, *, is_accepted: bool) -> None:
    assert (find_fault_of_rules(mode, owner, ME) is None) is is_accepted


def test_what_is_not_a_file_with_a_seed_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe", 0o600)

    assert "No such file" in refusal(tmp_path / "missing")
    assert "a symbolic link to nothing" in refusal(tmp_path / "dangling")
    assert "is a folder" in refusal(tmp_path / "folder")
    assert "is not a regular file" in refusal(tmp_path / "pipe")
    assert "is empty" in refusal(write(tmp_path / "empty", "\n# a comment\n"))
    assert "more than 4096 bytes" in refusal(write(tmp_path / "large", KEY.seed + "\n" * 5000))
    assert "2 lines" in refusal(write(tmp_path / "two", f"{KEY.seed}\n{KEY.seed}"))
    assert "43 characters" in refusal(write(tmp_path / "padded", f"{KEY.seed}="))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_a_file_and_a_link_of_another_user_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "key", KEY.seed)
    (tmp_path / "link").symlink_to("key")
    os.chown(tmp_path / "link", OTHER, OTHER, follow_symlinks=False)
    assert f"is a symbolic link of user {OTHER}" in refusal(tmp_path / "link")

    os.chown(path, OTHER, OTHER)
    assert f"belongs to user {OTHER}" in refusal(path)


@given(st.binary(max_size=200))
def test_garbage_is_refused_and_never_shown(data: bytes) -> None:
    text = data.decode(errors="replace")
    problem = SessionKey._read(text)  # pyright: ignore[reportPrivateUsage] - without a file for each example

    assert isinstance(problem, str)
    assert problem.partition(":")[0] in {
        "is empty",
        "has something else than a seed",
        *(f"has {count} lines with text" for count in range(200)),
    }


def test_the_environment_has_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_SEED", f"{KEY.seed}\n")
    assert SessionKey.from_environment("ORDERS_SEED").public == KEY.public

    monkeypatch.setenv("ORDERS_SEED", KEY.seed[1:])
    with pytest.raises(ConfigurationError, match="ORDERS_SEED has something else than a seed") as refused:
        SessionKey.from_environment("ORDERS_SEED")
    assert KEY.seed[1:] not in str(refused.value)

    monkeypatch.delenv("ORDERS_SEED")
    with pytest.raises(ConfigurationError, match="ORDERS_SEED is not set"):
        SessionKey.from_environment("ORDERS_SEED")


def test_a_generated_key_does_not_look_like_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    with_dash = next(
        seed for number in range(10_000) if SessionKey(seed := number.to_bytes(32)).public.startswith("-")
    )
    seeds = [with_dash, with_dash, bytes(32)]

    def draw(size: int) -> bytes:
        assert size == len(seeds[0])
        return seeds.pop(0)

    monkeypatch.setattr("trellis_nats.auth.session_key.os.urandom", draw)
    assert SessionKey.generate().public == SessionKey(bytes(32)).public
