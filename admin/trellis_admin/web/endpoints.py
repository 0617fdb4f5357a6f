"""What stands between a request and its page: identity, role, and what is said when something is wrong."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from trellis_nats import TrellisError
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import CannotConnect, PermissionDenied, TransportError
from trellis_nats.ids import new_id

from trellis_admin.audit_log import Action, Kind
from trellis_admin.projection import ProjectionProblem
from trellis_admin.web.access import Identity
from trellis_admin.web.console import Console
from trellis_admin.web.frame import show
from trellis_admin.web.links import path, read_part
from trellis_admin.web.problems import NotThere, Problem
from trellis_admin.web.protection import Form, read_form
from trellis_admin.web.rendering import render

__all__ = ["Endpoint", "answer_unknown"]

_log = logging.getLogger(__name__)

Page = Callable[[Request], Awaitable[Response]]
Change = Callable[[Request, Form], Awaitable[Response]]
Answering = Callable[[Request], Coroutine[Any, Any, Response]]

_FIXED: Final = {Kind.PAYLOAD: Action.REVEAL.value, Kind.KEY: Action.RELEASE.value}
"""Kinds of which there is one action."""
_ACTIONS: Final = {action.value: action for action in Action} | {"go-on": Action.RESUME}
_OLD_FORM: Final = Problem(
    "The page was older than the console",
    "Nothing was changed: the form carries a token that this console did not make for this browser. Load the page again, and "
    "repeat what you did.",
    may_repeat=True,
)
_NOT_ALLOWED: Final = Problem(
    "Nothing was changed: it needs the role operator",
    "Your role is viewer. The attempt is in the audit log.",
    icon="lock",
)
_NOT_ASKED: Final = Problem(
    "This needs the role operator", "Your role is viewer. Nothing was changed.", icon="lock"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Wraps the functions that make pages."""

    console: Console
    environment: Environment

    def page(self, make: Page) -> Answering:
        """Return the answering of a page that any known person may see."""
        return self._guard(make)

    def question(self, make: Page) -> Answering:
        """Return the answering of a question: a page for operators."""

        async def answer(request: Request) -> Response:
            if not request.state.identity.may_operate:
                return await _show_problem(request, _NOT_ASKED, 403)
            return await make(request)

        return self._guard(answer)

    def change(self, make: Change, kind: Kind | None = None) -> Answering:
        """Return the answering of a form: its token is checked, and the role of the person who sent it.

        Args:
            make: changes something, and answers.
            kind: what the audit log calls it; None for what needs no role.
        """

        async def answer(request: Request) -> Response:
            form = await read_form(request)
            if not self.console.tokens.is_valid(request, form.one("csrf")):
                return await _show_problem(request, _OLD_FORM, 403)
            identity: Identity = request.state.identity
            if kind is not None and not identity.may_operate:
                await self._note_denial(request, form, kind)
                return await _show_problem(request, _NOT_ALLOWED, 403)
            return await make(request, form)

        return self._guard(answer)

    def entrance(self, make: Page) -> Answering:
        """Return the answering of the page on which an unknown person types a token."""
        return self._guard(make, knows=False)

    async def _note_denial(self, request: Request, form: Form, kind: Kind) -> None:
        """Record an attempt for which the person has not the role."""
        asked = _FIXED.get(kind) or request.path_params.get("action") or form.one("action")
        action = _ACTIONS.get(asked)
        if action is None:
            return
        identity: Identity = request.state.identity
        target = {name: str(value) for name, value in request.path_params.items() if name != "action"}
        why = f"it needs the role operator, and {identity.actor} is {identity.role}"
        await self.console.operator(identity).deny(
            kind, action, dict(target), reason=form.one("reason") or None, why=why
        )

    def _guard(self, make: Page, *, knows: bool = True) -> Answering:
        async def answer(request: Request) -> Response:
            request.state.console = self.console
            request.state.environment = self.environment
            parts = {name: read_part(part) for name, part in request.path_params.items()}
            request.scope["path_params"] = parts
            try:
                if not knows:
                    return await make(request)
                identity = self.console.settings.access.identify(request)
                if identity is None:
                    return self._refuse_unknown(request)
                request.state.identity = identity
                await self.console.start()
                return await make(request)
            except Exception as error:  # noqa: BLE001 - a page says what happened, whatever it is
                return await _explain(request, error)

        return answer

    def _refuse_unknown(self, request: Request) -> Response:
        if self.console.settings.access.takes_tokens and request.method == "GET":
            return RedirectResponse(path(request, "entrance"), 303)
        problem = Problem(
            "The console does not know you", "Sign in where you usually do, and open the console from there."
        )
        return _show_bare(request, problem, 401)


async def answer_unknown(request: Request) -> Response:
    """Say that there is no such page."""
    raise NotThere("There is no such page", f"The console has no page {request.url.path}.")


async def _explain(request: Request, error: Exception) -> Response:
    match error:
        case NotThere(problem):
            return await _show_problem(request, problem, 404)
        case HTTPException():
            return await _show_problem(request, Problem(error.detail, ""), error.status_code)
        case PermissionDenied():
            text = f"The account of the console may not do this: {error}."
            return await _show_problem(request, Problem("NATS does not allow it", text, icon="lock"), 403)
        case CannotConnect() | TransportError():
            text = "Workers keep what they run; nothing is lost. The console connects again as soon as a server answers."
            problem = Problem("The NATS servers do not answer", text, str(error), may_repeat=True)
            return await _show_problem(request, problem, 503)
        case ProjectionProblem() | sqlite3.Error():
            problem = Problem("The projection cannot be read", str(error), may_repeat=True)
            return await _show_problem(request, problem, 503)
        case TrellisError():
            return await _show_problem(request, Problem("It was not done", str(error)), 409)
        case _:
            incident = new_id()
            _log.error(
                "the page %s could not be made (%s)",
                request.url.path,
                incident,
                exc_info=error,
                extra=log_fields(LogEvent.CONSOLE_PAGE_FAILED),
            )
            text = f"The console made a mistake; your jobs are not affected. Error {incident} is in its log."
            return _show_bare(request, Problem("This page could not be made", text, may_repeat=True), 500)


async def _show_problem(request: Request, problem: Problem, status: int) -> Response:
    try:
        response: Response = await show(request, "problem.html", "", {"problem": problem}, status=status)
    except (
        TrellisError,
        sqlite3.Error,
        AttributeError,
        RuntimeError,
    ):  # what surrounds it cannot be read either
        response = _show_bare(request, problem, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "5"
    return response


def _show_bare(request: Request, problem: Problem, status: int) -> Response:
    values = {
        "heading": problem.heading,
        "text": problem.text,
        "detail": problem.detail,
        "name": problem.icon,
        "asks_token": False,
        "may_repeat": problem.may_repeat,
    }
    return render(request, "bare.html", values, status=status)
