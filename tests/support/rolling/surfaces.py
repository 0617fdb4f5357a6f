"""Each surface with the ways in which its values pass from one version to the other, and whom the rules name for each."""

from __future__ import annotations

from typing import Final, TypeAlias

from tests.support.rolling.calls import answer, call, open_feed, raise_error, send_feed_event
from tests.support.rolling.deliveries import Exchange
from tests.support.rolling.jobs import (
    await_result,
    create_before,
    create_for_running,
    follow_updates,
    look_at_jobs,
    read_kept_result,
    replay_dead,
    work_side_by_side,
)
from tests.support.rolling.kept import (
    handle_backlog,
    handle_new,
    handle_side_by_side,
    keep_state,
    keep_value,
    receive,
)
from tests.support.rolling.operations import (
    leave_signal_to_others,
    leave_to_others,
    read_kept_output,
    read_kept_progress,
    send_signal,
    start,
    wait_for_output,
    watch_progress,
)
from trellis_codegen.breaking.rules.grades import Column, Direction

__all__ = ["SPARED", "WAYS", "Way"]

Way: TypeAlias = tuple[Direction, Column]

_FORWARD, _BACKWARD = Direction.FORWARD, Direction.BACKWARD

WAYS: Final[dict[str, dict[Way, tuple[Exchange, ...]]]] = {
    "JOB_PAYLOAD": {
        (_FORWARD, Column.PRODUCERS): (create_for_running,),
        (_FORWARD, Column.QUEUED): (create_before,),
        (_FORWARD, Column.DEAD): (replay_dead,),
        (_BACKWARD, Column.OLD_WORKERS): (create_for_running,),
    },
    "JOB_RESULT": {
        (_FORWARD, Column.CALLERS): (read_kept_result,),
        (_BACKWARD, Column.CALLERS): (await_result,),
    },
    "JOB_UPDATE": {
        (_FORWARD, Column.CALLERS): (follow_updates,),
        (_BACKWARD, Column.CALLERS): (follow_updates,),
    },
    "RPC_INPUT": {
        (_FORWARD, Column.PRODUCERS): (call,),
        (_BACKWARD, Column.OLD_WORKERS): (call,),
    },
    "RPC_OUTPUT": {
        (_FORWARD, Column.CALLERS): (answer,),
        (_BACKWARD, Column.CALLERS): (answer,),
    },
    "ERROR_DATA": {
        (_FORWARD, Column.CALLERS): (raise_error,),
        (_BACKWARD, Column.CALLERS): (raise_error,),
    },
    "OPERATION_INPUT": {
        (_FORWARD, Column.PRODUCERS): (start,),
        (_FORWARD, Column.STORED): (leave_to_others,),
        (_BACKWARD, Column.OLD_WORKERS): (start,),
    },
    "OPERATION_OUTPUT": {
        (_FORWARD, Column.STORED): (read_kept_output,),
        (_BACKWARD, Column.CALLERS): (wait_for_output,),
    },
    "OPERATION_PROGRESS": {
        (_FORWARD, Column.STORED): (read_kept_progress,),
        (_BACKWARD, Column.CALLERS): (watch_progress,),
    },
    "SIGNAL_INPUT": {
        (_FORWARD, Column.PRODUCERS): (send_signal,),
        (_FORWARD, Column.STORED): (leave_signal_to_others,),
        (_BACKWARD, Column.OLD_WORKERS): (send_signal,),
    },
    "EVENT": {
        (_FORWARD, Column.LISTENERS): (handle_backlog, handle_new, receive),
        (_BACKWARD, Column.LISTENERS): (handle_new, receive),
    },
    "FEED_INPUT": {
        (_FORWARD, Column.PRODUCERS): (open_feed,),
        (_BACKWARD, Column.OLD_WORKERS): (open_feed,),
    },
    "FEED_EVENT": {
        (_FORWARD, Column.LISTENERS): (send_feed_event,),
        (_BACKWARD, Column.LISTENERS): (send_feed_event,),
    },
    "KV_VALUE": {
        (_FORWARD, Column.STORED): (keep_value,),
        (_BACKWARD, Column.OLD_WORKERS): (keep_value,),
    },
    "STATE_VALUE": {
        (_FORWARD, Column.STORED): (keep_state,),
        (_BACKWARD, Column.OLD_WORKERS): (keep_state,),
    },
}
"""By the prefix of the rules of a surface. A way back has the columns that the rules name for values of the new version."""

SPARED: Final[dict[str, tuple[tuple[Direction, Exchange], ...]]] = {
    "JOB_PAYLOAD": (
        (_FORWARD, look_at_jobs),
        (_BACKWARD, look_at_jobs),
        (_FORWARD, work_side_by_side),
        (_BACKWARD, work_side_by_side),
    ),
    "EVENT": (
        (_FORWARD, handle_side_by_side),
        (_BACKWARD, handle_side_by_side),
    ),
}
"""What no change of a schema breaks, not even with the values that break other ways."""
