"""The console as an ASGI application, which can be mounted below any path."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from trellis_admin.audit_log import Kind
from trellis_admin.web.console import Console, Settings
from trellis_admin.web.endpoints import Endpoint, answer_unknown
from trellis_admin.web.live import stream_changes
from trellis_admin.web.pages.audit import show_audit
from trellis_admin.web.pages.bulk import ask_bulk, change_bulk, show_bulk, show_bulks
from trellis_admin.web.pages.bulk_question import ask_group, ask_selection, begin_bulk
from trellis_admin.web.pages.dead import show_dead, show_dead_group
from trellis_admin.web.pages.display import change_preferences, show_keyboard
from trellis_admin.web.pages.entrance import enter, show_entrance
from trellis_admin.web.pages.job import reveal_payload, show_job, show_stack
from trellis_admin.web.pages.job_questions import ask_job, change_job
from trellis_admin.web.pages.jobs import show_jobs
from trellis_admin.web.pages.key import ask_key, release_key, show_key
from trellis_admin.web.pages.metrics import show_metrics
from trellis_admin.web.pages.overview import show_overview
from trellis_admin.web.pages.queue import ask_queue, change_queue, show_queue
from trellis_admin.web.pages.workers import show_workers
from trellis_admin.web.protection import LOOPBACK, Protection
from trellis_admin.web.rendering import make_environment

__all__ = ["app"]


def app(settings: Settings, *, hosts: Collection[str] | None = LOOPBACK) -> Starlette:
    """Return the console as an ASGI application.

    It connects when the server starts it, or with the first request where an application mounts it.

    Args:
        settings: where the jobs are, and who may see and change them.
        hosts: the host names under which the console answers; None for all, where a proxy or another application checks them.
            By default those of this machine: a page of another site cannot reach the console by a name of its own.
    """
    console = Console(settings)
    endpoint = Endpoint(console, make_environment())

    @asynccontextmanager
    async def live(_application: Starlette) -> AsyncGenerator[None]:
        await console.start()
        try:
            yield
        finally:
            await console.stop()

    application = Starlette(
        routes=[
            *_pages(endpoint),
            *_changes(endpoint),
            Mount("/static", StaticFiles(packages=[("trellis_admin.web", "static")]), name="static"),
            Route("/{rest:path}", endpoint.page(answer_unknown), methods=["GET", "POST"]),
        ],
        middleware=[Middleware(Protection, hosts=hosts)],
        lifespan=live,
    )
    application.state.console = console
    return application


def _pages(endpoint: Endpoint) -> list[Route]:
    return [
        Route("/", endpoint.page(show_overview), name="overview"),
        Route("/jobs", endpoint.page(show_jobs), name="jobs"),
        Route("/jobs/{job}", endpoint.page(show_job), name="job"),
        Route("/dead", endpoint.page(show_dead), name="dead"),
        Route("/dead/{fingerprint}", endpoint.page(show_dead_group), name="dead_group"),
        Route("/queues/{service}/{queue}", endpoint.page(show_queue), name="queue"),
        Route("/queues/{service}/{queue}/keys/{key}", endpoint.page(show_key), name="key"),
        Route("/bulk", endpoint.page(show_bulks), name="bulk"),
        Route("/bulk/{bulk}", endpoint.page(show_bulk), name="bulk_action"),
        Route("/workers", endpoint.page(show_workers), name="workers"),
        Route("/audit", endpoint.page(show_audit), name="audit"),
        Route("/metrics", endpoint.page(show_metrics), name="metrics"),
        Route("/keyboard", endpoint.page(show_keyboard), name="keyboard"),
        Route("/live", endpoint.page(stream_changes), name="live"),
        Route("/enter", endpoint.entrance(show_entrance), name="entrance"),
    ]


def _changes(endpoint: Endpoint) -> list[Route]:
    """Return questions, which change nothing, and what answers them."""
    question, change = endpoint.question, endpoint.change
    job, queue, bulk = "/jobs/{job}", "/queues/{service}/{queue}", "/bulk/{bulk}"
    key = f"{queue}/keys/{{key}}/release"
    questions = [
        Route("/ask", question(ask_selection), name="ask"),
        Route("/dead/{fingerprint}/{action}", question(ask_group), name="ask_group"),
        Route(f"{job}/stack", question(show_stack), name="stack"),
        Route(f"{job}/{{action}}", question(ask_job), name="ask_job"),
        Route(f"{queue}/{{action}}", question(ask_queue), name="ask_queue"),
        Route(key, question(ask_key), name="ask_key"),
        Route(f"{bulk}/{{action}}", question(ask_bulk), name="ask_bulk"),
    ]
    changes = {
        "begin_bulk": ("/bulk", change(begin_bulk, Kind.BULK)),
        "reveal": (f"{job}/reveal", change(reveal_payload, Kind.PAYLOAD)),
        "change_job": (f"{job}/{{action}}", change(change_job, Kind.JOB)),
        "change_queue": (f"{queue}/{{action}}", change(change_queue, Kind.QUEUE)),
        "release_key": (key, change(release_key, Kind.KEY)),
        "change_bulk": (f"{bulk}/{{action}}", change(change_bulk, Kind.BULK)),
        "preferences": ("/preferences", change(change_preferences)),
        "enter": ("/enter", endpoint.entrance(enter)),
    }
    return questions + [
        Route(address, answer, name=name, methods=["POST"]) for name, (address, answer) in changes.items()
    ]
