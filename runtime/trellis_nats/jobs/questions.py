"""How the worker processes of a service ask each other which jobs they run: the account's permissions decide."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.binding import JobsBinding, QueueBinding
from trellis_nats.jobs.grants import event_question_grants, own_question_grants
from trellis_nats.jobs.model.subjects import JobSubjects
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.runtime import Runtime

__all__ = ["answer_questions", "build_liveness"]

_log = logging.getLogger(__name__)


def build_liveness(runtime: Runtime, jobs: JobsBinding) -> Liveness:
    """Return what asks and answers for this process.

    A control plane may give each process an account of its own; without one, the roles of `permissions` apply to all.
    """
    return Liveness(
        runtime.connection,
        namespace=jobs.namespace,
        instance_id=runtime.instance_id,
        peers_may_differ=runtime.has_given_binding,
    )


def answer_questions(
    runtime: Runtime,
    jobs: JobsBinding,
    queues: Iterable[QueueBinding],
    liveness: Liveness,
    thread: ProgressThread,
) -> None:
    """Answer questions about the jobs of these queues, on every subject that the account permits.

    Where it permits none, no worker can be asked: that is logged, and jobs wait for the ack wait instead.
    """
    lacking_own = [grant for grant in own_question_grants(jobs, runtime.instance_id) if runtime.lacks(grant)]
    answerable: list[JobSubjects] = []
    for queue in queues:
        subjects = JobSubjects(queue.publish_prefix)
        lacking = [
            grant for grant in event_question_grants(queue, runtime.instance_id) if runtime.lacks(grant)
        ]
        if not lacking:
            answerable.append(subjects)
        elif lacking_own:
            liveness.give_up(subjects)
            _log.warning(
                "queue %s: workers cannot ask each other which jobs they run, so that a job whose worker seems to have "
                "died may wait one more ack wait before it runs again; the account may not %s",
                queue.queue_type,
                "; ".join(map(str, dict.fromkeys([*lacking, *lacking_own]))),
                extra=log_fields(LogEvent.WORKERS_NOT_ASKED, queue=queue.queue_type),
            )
    liveness.answer_from(thread, on_own_subject=not lacking_own, on_events_of=answerable)
