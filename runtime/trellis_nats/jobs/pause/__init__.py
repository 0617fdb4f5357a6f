"""Pauses a queue for all its workers, and lets it go on. The functions need a connection only."""

from trellis_nats.jobs.model.queue_pause import QueuePause
from trellis_nats.jobs.pause.consumer_hold import HOLD_SINCE, ConsumerHold, QueueConsumer, is_queue_held
from trellis_nats.jobs.pause.control import (
    PauseResult,
    ResumeResult,
    list_pauses,
    pause_queue,
    read_pause,
    resume_queue,
)

__all__ = [
    "HOLD_SINCE",
    "ConsumerHold",
    "PauseResult",
    "QueueConsumer",
    "QueuePause",
    "ResumeResult",
    "is_queue_held",
    "list_pauses",
    "pause_queue",
    "read_pause",
    "resume_queue",
]
