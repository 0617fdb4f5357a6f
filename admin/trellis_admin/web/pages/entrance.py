"""Where an unknown person types a token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from trellis_admin.web.access import TOKEN_COOKIE, TokenAccess
from trellis_admin.web.console import Console
from trellis_admin.web.frame import cookie_path, redirect
from trellis_admin.web.links import path
from trellis_admin.web.problems import NotThere
from trellis_admin.web.protection import SESSION_COOKIE, read_form
from trellis_admin.web.rendering import render

__all__ = ["enter", "show_entrance"]


async def show_entrance(request: Request) -> Response:
    """Ask for a token."""
    return _ask(request, _tokens(request), is_wrong=False)


async def enter(request: Request) -> Response:
    """Keep a right token in a cookie, and show the console."""
    access, console = _tokens(request), _console(request)
    form = await read_form(request)
    cookie = access.accept(form.one("token")) if console.tokens.is_valid(request, form.one("csrf")) else None
    if cookie is None:
        return _ask(request, access, is_wrong=True)
    response = redirect(request, path(request, "overview"))
    response.set_cookie(
        TOKEN_COOKIE,
        cookie,
        path=cookie_path(request),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _ask(request: Request, access: TokenAccess, *, is_wrong: bool) -> Response:
    console = _console(request)
    session, is_new = console.tokens.session(request)
    values = {
        "heading": "Trellis console",
        "text": "Type the token that the console was started with.",
        "name": "lock",
        "detail": "",
        "asks_token": access.takes_tokens,
        "is_wrong": is_wrong,
        "csrf": console.tokens.make(session),
        "may_repeat": False,
    }
    response = render(request, "bare.html", values, status=401 if is_wrong else 200, is_secret=True)
    if is_new:
        response.set_cookie(
            SESSION_COOKIE,
            session,
            path=cookie_path(request),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response


def _console(request: Request) -> Console:
    console: Console = request.state.console
    return console


def _tokens(request: Request) -> TokenAccess:
    access = _console(request).settings.access
    if not isinstance(access, TokenAccess):
        raise NotThere("There is no such page", "This console does not ask for tokens.")
    return access
