"""The root of the error tree, and the errors that every surface can raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

__all__ = ["InvalidPayload", "TrellisError", "UpcastFailed"]

_NAMED_MAX: Final = 10
_PACKAGE: Final = __name__.rpartition(".")[0]


class TrellisError(Exception):
    """The root of every error that this runtime raises on purpose.

    Remedy: Catch a subclass; catch this one only to log or to translate whatever the runtime raises.
    """

    docs: ClassVar[str] = "reference/errors.md#trelliserror"
    """The page of the documentation about the class, and the place in it; of a generated error that of `DeclaredError`."""

    def __init_subclass__(cls) -> None:
        """Name the place of a class of the runtime."""
        super().__init_subclass__()
        if cls.__module__.startswith(_PACKAGE):
            cls.docs = f"reference/errors.md#{cls.__name__.lower()}"

    def note_remedy(self) -> None:
        """Add the remedy of the class as a note, which a traceback ends with: for errors that only a person can mend."""
        for kind in type(self).__mro__:
            if kind.__module__.startswith(_PACKAGE):
                _, _, remedy = (kind.__doc__ or "").partition("Remedy: ")
                text = " ".join(remedy.partition("\n\n")[0].split())
                self.add_note(f"Remedy: {text} (help(trellis_nats.{kind.__name__}) says what it means)")
                return


class InvalidPayload(TrellisError):
    """A value does not match its schema.

    The text names the first ten places and rules, never the value, which may be secret.

    Remedy: Compare the value with the schema at the places in `issues`. If another version of the
    contract wrote it, register an upcaster or deploy the version that reads it.
    """

    def __init__(
        self,
        what: str,
        issues: Sequence[tuple[str, str]],
        *,
        writer_digest: str | None = None,
        reader_digest: str | None = None,
    ) -> None:
        named = "; ".join(f"{place}: {text}" for place, text in issues[:_NAMED_MAX])
        more = f"; and {len(issues) - _NAMED_MAX} more" if len(issues) > _NAMED_MAX else ""
        versions = f"; contract version {writer_digest} wrote it, this process has version {reader_digest}"
        super().__init__(
            f"{what} does not match its schema: {named}{more}{versions if writer_digest is not None else ''}"
        )
        self._what = what
        self.issues = tuple(issues)
        """Pairs of a place in the value and a sentence about it: at most 100, and then one that says how many more."""
        self.writer_digest = writer_digest
        """The digest of the contract that wrote the value, if it is known to be another one than this process has."""
        self.reader_digest = reader_digest
        """The digest of the contract that this process has, where `writer_digest` is known."""

    def written_by(self, writer_digest: str, *, reader_digest: str) -> InvalidPayload:
        """Return this error for a value that another version of the contract wrote: its text names both."""
        return InvalidPayload(
            self._what, self.issues, writer_digest=writer_digest, reader_digest=reader_digest
        )


class UpcastFailed(InvalidPayload):
    """An upcaster gave no payload of this version: it raised, or did not return what it declares.

    The exception that it raised is the `__cause__`, and the text has that exception's text. Of pydantic's `ValidationError`,
    which holds the payload, the text has the places and rules, and there is no `__cause__`.

    Remedy: Correct the upcaster: it returns a payload of this version for every payload of the old one.
    The job waits or fails, and an operator can retry it.
    """

    def __init__(
        self, what: str, upcaster: str, problem: str, issues: Sequence[tuple[str, str]] = ()
    ) -> None:
        text = f"the upcaster {upcaster} {problem}"
        super().__init__(what, [*issues, ("#", text)])
        if not issues:  # the payload was not compared with the schema
            self.args = (f"{what} was not upcast: {text}",)
        self.upcaster = upcaster
        """The name of the function."""
