"""Questions about jobs, answered from the projection; and one job's history, from the stream.

Every function but those that ask the server (`read_history`, `follow_history`, `read_pauses`, `find_held`) takes a connection of `projection.connect_reader`, and answers from one state of the file.
None of them waits for the server: how old the answers are is in `read_status`.
"""

from trellis_admin.queries.filters import FilterProblem, JobFilter, Term, Word, parse_filter
from trellis_admin.queries.groups import list_error_groups
from trellis_admin.queries.history import follow_history, read_history
from trellis_admin.queries.history_rows import (
    Attempt,
    AttemptEnd,
    HistoryEvent,
    JobHistory,
    LogLine,
    StoredCheckpoint,
    Wait,
    WaitReason,
)
from trellis_admin.queries.jobs import (
    COUNTED_MAX,
    Sort,
    count_jobs,
    count_states,
    find_jobs,
    list_jobs,
    list_overdue,
    select_targets,
    snapshot,
)
from trellis_admin.queries.keys import list_keys
from trellis_admin.queries.lineage import Family, FamilyMember, read_family
from trellis_admin.queries.lookups import (
    BulkEnds,
    QueuePlace,
    count_bulk_ends,
    count_bulk_states,
    count_targets,
    find_queues,
    list_queue_places,
)
from trellis_admin.queries.overview import read_overview
from trellis_admin.queries.pauses import find_held, read_pauses
from trellis_admin.queries.queues import list_queues
from trellis_admin.queries.recreated import NOT_RECREATED, count_stale, find_recreated
from trellis_admin.queries.rows import (
    BLOCKED_AFTER,
    Attention,
    AttentionKind,
    Count,
    ErrorGroup,
    JobPage,
    JobRow,
    KeyRow,
    Overview,
    ProjectionStatus,
    QueueRow,
    Series,
    Target,
    WorkedQueueRow,
    WorkerRow,
)
from trellis_admin.queries.selection import Selection
from trellis_admin.queries.status import read_status
from trellis_admin.queries.version_waits import VersionWait, find_version_waits, find_wait_of
from trellis_admin.queries.workers import (
    HEARTBEAT_EVERY,
    LATE_AFTER,
    SILENT_AFTER,
    find_silence,
    list_workers,
)

__all__ = [
    "BLOCKED_AFTER",
    "COUNTED_MAX",
    "HEARTBEAT_EVERY",
    "LATE_AFTER",
    "NOT_RECREATED",
    "SILENT_AFTER",
    "Attempt",
    "AttemptEnd",
    "Attention",
    "AttentionKind",
    "BulkEnds",
    "Count",
    "ErrorGroup",
    "Family",
    "FamilyMember",
    "FilterProblem",
    "HistoryEvent",
    "JobFilter",
    "JobHistory",
    "JobPage",
    "JobRow",
    "KeyRow",
    "LogLine",
    "Overview",
    "ProjectionStatus",
    "QueuePlace",
    "QueueRow",
    "Selection",
    "Series",
    "Sort",
    "StoredCheckpoint",
    "Target",
    "Term",
    "VersionWait",
    "Wait",
    "WaitReason",
    "Word",
    "WorkedQueueRow",
    "WorkerRow",
    "count_bulk_ends",
    "count_bulk_states",
    "count_jobs",
    "count_stale",
    "count_states",
    "count_targets",
    "find_held",
    "find_jobs",
    "find_queues",
    "find_recreated",
    "find_silence",
    "find_version_waits",
    "find_wait_of",
    "follow_history",
    "list_error_groups",
    "list_jobs",
    "list_keys",
    "list_overdue",
    "list_queue_places",
    "list_queues",
    "list_workers",
    "parse_filter",
    "read_family",
    "read_history",
    "read_overview",
    "read_pauses",
    "read_status",
    "select_targets",
    "snapshot",
]
