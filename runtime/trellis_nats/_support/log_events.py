"""The events that the runtime logs, by name, and the fields that their records carry.

Every record of a logger under `trellis_nats` has an `event_name`; the text may change, the name does not. Formatters
(structlog, JSON) and tests read the names and fields instead of the text.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LogEvent", "log_fields"]


class LogEvent(StrEnum):
    """What a log record reports."""

    # --- working a job -----------------------------------------------------------------------------------------------
    JOB_REDELIVERED_LIVE = "job_redelivered_live"
    """A message was redelivered while the job still runs in a live worker."""
    JOB_REDELIVERED_LOST = "job_redelivered_lost"
    """A message was redelivered and no worker holds the job any longer: it runs again."""
    JOB_CANCELLED = "job_cancelled"
    """A job was cancelled while its handler ran."""
    JOB_RELEASED = "job_released"
    """The worker stops; the job goes back to the queue and the attempt does not count."""
    WORKERS_STOPPING = "workers_stopping"
    """The workers stop while handlers run: how many, and how long they may take to end."""
    WORKERS_STOPPED = "workers_stopped"
    """The last line of a stop: which jobs went back to their queues, and which of their handlers still run."""
    JOB_SUPERSEDED = "job_superseded"
    """Another worker runs the job now; this attempt is dropped."""
    JOB_RETRIED = "job_retried"
    """A handler raised; the job runs again after its backoff."""
    JOB_FAILED = "job_failed"
    """A job ended without a result: failed, dead or expired."""
    JOB_OF_OTHER_VERSION = "job_of_other_version"
    """A payload that this version of the contract cannot read, and that another version wrote, waits for a worker of that version."""
    PAYLOAD_UPCAST = "payload_upcast"
    """An upcaster built the payload of this version of the contract from one of another version."""
    UPCAST_FAILED = "upcast_failed"
    """An upcaster raised, or did not return a payload of this version; its job waits or fails as if there were none."""
    JOB_POSTPONED = "job_postponed"
    """A job cannot be worked now and is redelivered later."""
    PARKING_OFF = "parking_off"
    """Jobs that wait for long are not parked in this process: they hold deliveries of their queue's consumer."""
    PARKING_REFUSED = "parking_refused"
    """Stream JOBS_DELAYED did not take a job that waits; for a moment, jobs that wait hold deliveries."""
    JOB_RETURNED = "job_returned"
    """A job could not begin because NATS failed; its message goes back to the server."""
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    """A job was created with an idempotency key whose job has another payload: the first job stays, the new payload is dropped."""
    QUEUE_NOT_WORKED = "queue_not_worked"
    """Queues have no handler in this process, which has other handlers. A warning if those are of queues; see `leave_to_others()`."""
    NOTHING_WORKED = "nothing_worked"
    """A service that has queues started without any handler: the process works and serves nothing."""
    QUEUE_PAUSED = "queue_paused"
    """An operator paused a queue: this process begins no job of it. The text says who, since when and why."""
    QUEUE_RESUMED = "queue_resumed"
    """A paused queue goes on in this process."""
    PAUSE_NOT_FOLLOWED = "pause_not_followed"
    """This process does not notice when a queue is paused, or goes on: the account lacks a permission, or the bucket does not exist."""
    HOLD_FAILED = "hold_failed"
    """The consumers of a paused queue could not be held at the server; workers of this runtime obey the pause all the same."""
    ACK_DENIED = "ack_denied"
    """The account may not acknowledge a work message; the server redelivers it after the ack wait."""
    HANDLER_RAISED = "handler_raised"
    """The handler of a job or a procedure raised an exception. The traceback is cut to 8 KiB."""
    HANDLERS_WAIT = "handlers_wait"
    """Every handler of a queue in this process waits for another job of the queue, which cannot begin here."""
    HANDLER_STUCK = "handler_stuck"
    """A handler did not end when its worker stopped, or after it was cancelled."""
    REPORT_DROPPED = "report_dropped"
    """A handler's progress report, log line or live update was dropped, or one of its numbers was left out."""
    CHECKPOINT_NOT_FOUND = "checkpoint_not_found"
    """A checkpoint that an earlier attempt stored is not in the stream; the next attempt goes on with an older one, or none."""
    START_NOT_CONFIRMED = "start_not_confirmed"
    """It is not known whether the start of an attempt is stored; the write is repeated."""
    OUTCOME_NOT_STORED = "outcome_not_stored"
    """The outcome of an attempt is not stored yet and is written again."""
    WRITE_REPEATED = "write_repeated"
    """A write was not answered and is repeated under the same message id."""
    ACK_NOT_CONFIRMED = "ack_not_confirmed"
    """The server did not confirm an acknowledgement; it is repeated."""
    UPDATE_IGNORED = "update_ignored"
    """A live update does not match its schema and was ignored."""
    KEY_NOT_RELEASED = "key_not_released"
    """A job ended, but is still in the record of its key; the next job that needs the room removes it."""
    WRITE_CONFLICT = "write_conflict"
    """Another writer stored an event of the job first; its events are read again."""
    READ_FAILED = "read_failed"
    """The events of a job could not be read; they are read again later."""
    INTERNAL_ERROR = "internal_error"
    """A task of the runtime ended in an exception that it does not expect: please report it."""
    WORK_MESSAGE_REMOVED = "work_message_removed"
    """A message of the work stream is malformed, or its job has no events; it was removed."""

    # --- RPC, feeds and events ---------------------------------------------------------------------------------------
    CALL_REFUSED = "call_refused"
    """A call was answered with an error that its handler did not raise, or was ignored."""
    CALLERS_CHECKED = "callers_checked"
    """A service starts to take calls, and checks who calls. The text says by what."""
    CALLERS_OPEN = "callers_open"
    """A service starts to take calls and does not check who calls. A warning if it signs its own calls."""
    CALLERS_RELOADED = "callers_reloaded"
    """The file of callers has changed, and its new version is in force."""
    CALLERS_KEPT = "callers_kept"
    """The file of callers has changed and cannot be used: the callers stay as they were."""
    CALL_TIMED_OUT = "call_timed_out"
    """A handler was cancelled because its caller no longer waits."""
    REPLY_LOST = "reply_lost"
    """A reply could not be sent: the connection was gone for as long as the caller waits."""
    FEED_SUBSCRIBER_GONE = "feed_subscriber_gone"
    """No process receives the events of a feed any longer; its handler is cancelled."""
    EVENT_SKIPPED = "event_skipped"
    """A received event does not match its schema and was skipped."""
    VALUE_SKIPPED = "value_skipped"
    """A value in a watched bucket, or the record of an object in a list, is malformed and was skipped."""
    DOWNLOAD_ENDED = "download_ended"
    """A download ended before its caller had all of the object."""
    UPLOAD_ENDED = "upload_ended"
    """An upload ended before its content was complete; nothing of it is stored."""
    CHUNKS_LEFT = "chunks_left"
    """Chunks that no object uses were not removed from a store; they only take room."""
    EVENT_RETRIED = "event_retried"
    """The handler of an event group raised; the event is delivered again after the group's backoff."""
    EVENT_GIVEN_UP = "event_given_up"
    """The handler of an event group raised in every attempt; the group goes on without the event."""
    EVENT_REMOVED = "event_removed"
    """An event of a group does not match its schema and was removed from the group."""
    EVENT_OF_OTHER_VERSION = "event_of_other_version"
    """An event of a group that this version of the contract cannot read, and that another version wrote, waits for an instance
    that can read it."""
    EVENT_POSTPONED = "event_postponed"
    """An event of a group has a subject that no handler is for; it is delivered again later."""
    EVENTS_DROPPED = "events_dropped"
    """A subscription received events faster than its reader takes them; the oldest were dropped."""

    # --- the control plane -------------------------------------------------------------------------------------------
    JOIN_WAITS = "join_waits"
    """The control plane does not let the service in yet; the text says what it waits for. It asks again."""
    JOINED = "joined"
    """The control plane has let the service in."""
    JOIN_REFUSED = "join_refused"
    """The control plane refuses a service that was in; the service asks again, because an administrator may change that."""
    BINDING_CHANGED = "binding_changed"
    """The control plane has given a running service other resources; it uses them after a restart."""
    CALLERS_NOT_CHECKED = "callers_not_checked"
    """The control plane cannot be asked who calls: calls are refused until it can."""

    # --- connection and consumers ------------------------------------------------------------------------------------
    CONNECTION_LOST = "connection_lost"
    """The connection to the server ended; it is being replaced. A warning, but when its credentials expired."""
    CONNECT_FAILED = "connect_failed"
    """An attempt to connect or reconnect failed; the next one follows after a short wait. Each reason is logged once a minute."""
    CONNECTION_RESTORED = "connection_restored"
    """The connection is back, with every subscription."""
    SERVER_ERROR = "server_error"
    """The server reported an error that does not end the connection."""
    CALLBACK_RAISED = "callback_raised"
    """A callback of the connection or of a subscription raised; the connection continues."""
    CONSUMER_READY = "consumer_ready"
    """The worker pulls from a consumer: work arrives when there is any."""
    CONSUMER_STOPPED = "consumer_stopped"
    """The worker stopped pulling from a consumer."""
    CONSUMER_SILENT = "consumer_silent"
    """The server did not answer the pull requests in time."""
    CONSUMER_UNAVAILABLE = "consumer_unavailable"
    """No server answers for a consumer: JetStream is starting, a leader is being elected, or the consumer is gone."""
    CONSUMER_MISSING = "consumer_missing"
    """A consumer or its stream was deleted."""
    CONSUMER_REFUSED = "consumer_refused"
    """The server refuses the pull requests, or a recreated consumer cannot be used."""
    CONSUMER_BLOCKED = "consumer_blocked"
    """The server reports why a consumer delivers nothing, for instance that it is paused."""
    WRITES_FAIL = "writes_fail"
    """What workers write to is missing, or does not accept writes."""
    WRITES_RECOVERED = "writes_recovered"
    """Jobs can be written again."""
    CONSUMER_RECOVERED = "consumer_recovered"
    """A consumer delivers messages again."""
    STRAY_CHILD = "stray_child"
    """A forked child left the code that forked it and returned to the event loop of its parent; it was ended."""
    PERMISSION_DENIED = "permission_denied"
    """The server denied a subject to this account."""
    PERMISSION_RESTORED = "permission_restored"
    """The account may again subscribe to a subject that the server had denied."""
    CLOCK_JUMPED = "clock_jumped"
    """The wall clock of this machine jumped."""
    CLOCK_NOT_COMPARED = "clock_not_compared"
    """The server's time is not known, so the clock of this machine was not compared with it."""
    CLOCK_SKEWED = "clock_skewed"
    """The wall clock of this machine differs from the server's."""

    # --- concurrency keys --------------------------------------------------------------------------------------------
    SLOT_LOST = "slot_lost"
    """A job lost the slot of its key while it ran: its handler is cancelled and its result is refused."""
    PROCESS_TOO_SLOW = "process_too_slow"
    """The lease of a slot was over before the attempt began: the machine is overloaded. The process works fewer jobs of the
    queue for a while."""
    LEASE_NOT_RENEWED = "lease_not_renewed"
    """The lease of a slot could not be renewed yet; the renewal is repeated."""
    SLOT_NOT_RELEASED = "slot_not_released"
    """A slot could not be released yet; the release is repeated until the lease expires."""
    JOB_STALE = "job_stale"
    """A job whose lease expired lost its slot to another job."""
    RESERVATION_NOT_UNDONE = "reservation_not_undone"
    """The entry of a job that was not created could not be removed from the record of its key; it times out."""

    # --- operations --------------------------------------------------------------------------------------------------
    OPERATION_RESUMED = "operation_resumed"
    """This process goes on with an operation whose process ended."""
    OPERATION_LEASE_NOT_RENEWED = "operation_lease_not_renewed"
    """The lease under which this process runs operations could not be renewed, or given back, yet."""
    OPERATION_LEASE_LOST = "operation_lease_lost"
    """The lease under which this process ran operations has expired, and another process took it: they go on elsewhere."""
    OPERATIONS_NOT_CHECKED = "operations_not_checked"
    """The operations whose process may have ended could not be checked; they are checked again."""
    OPERATION_INTERRUPTED = "operation_interrupted"
    """An operation failed because its process ended while its handler ran."""
    OPERATIONS_PURGED = "operations_purged"
    """The records of ended operations were purged."""
    OPERATION_DROPPED = "operation_dropped"
    """An operation was cancelled, or another process runs it now: the outcome of its handler does not count."""

    # --- provisioning and permissions --------------------------------------------------------------------------------
    RESOURCE_CREATED = "resource_created"
    """A stream, bucket or consumer was missing and has been created."""
    RESOURCE_UNAVAILABLE = "resource_unavailable"
    """A stream or consumer that the service can do without is missing and cannot be created, or differs."""
    CONSUMER_DEVIATES = "consumer_deviates"
    """An existing consumer is usable, but not configured as this runtime would."""
    STREAM_DEVIATES = "stream_deviates"
    """An existing stream is not as this runtime creates it, at a price that the text names."""
    QUEUE_REMOVED = "queue_removed"
    """A queue that this version of the contract does not have holds jobs, which no worker of this version takes."""
    QUEUES_UNKNOWN = "queues_unknown"
    """It is not known whether queues that the contract does not have hold jobs: they cannot be looked up."""
    RESOURCE_UPDATED = "resource_updated"
    """A consumer, bucket or store got the settings of this version of the contract, or could not get them."""
    STREAM_UPDATED = "stream_updated"
    """Atomic batches were switched on in an existing stream."""
    BATCHES_OFF = "batches_off"
    """The stream of jobs has no atomic batches: many jobs are stored one by one."""
    SERVER_OUTDATED = "server_outdated"
    """The server lacks a feature of newer versions; the text says what that costs."""
    WORKERS_NOT_ASKED = "workers_not_asked"
    """The account does not let workers ask each other which jobs they run; jobs of a dead worker may wait longer."""
    PERMISSIONS_LIMITED = "permissions_limited"
    """The account lacks permissions that the service can do without."""

    # --- health ------------------------------------------------------------------------------------------------------
    CHECK_FAILED = "check_failed"
    """A health check of the program failed."""
    PROBE_ABORTED = "probe_aborted"
    """A probe closed its connection, or did not send a request or read the answer in time."""

    # --- several processes -------------------------------------------------------------------------------------------
    PROCESS_STARTED = "process_started"
    """`python -m trellis_nats.run` has started a process."""
    PROCESS_ENDED = "process_ended"
    """A process of `python -m trellis_nats.run` has ended; it is started again unless the group stops."""
    PROGRAM_NOT_LOADED = "program_not_loaded"
    """The first process of `python -m trellis_nats.run` imports the program for long, or the program runs while it is imported."""
    GROUP_PROBED = "group_probed"
    """`python -m trellis_nats.run` answers the probes of all its processes on the address that the text names."""
    GROUP_STOPS = "group_stops"
    """`python -m trellis_nats.run` got a signal, which goes to all its processes."""
    GROUP_FAILED = "group_failed"
    """`python -m trellis_nats.run` ends: the program cannot be loaded, or the address for probes is in use."""

    # --- maintenance -------------------------------------------------------------------------------------------------
    JOB_RESCUED = "job_rescued"
    """A job was accepted and its work message is missing; the message was written again."""
    LOST_JOBS_SEARCHED = "lost_jobs_searched"
    """A search for lost jobs has ended; the text has its counts."""
    JOB_UNREADABLE = "job_unreadable"
    """An event in the history of a job cannot be read."""
    JOBS_PURGED = "jobs_purged"
    """The histories of ended jobs were purged."""
    HEARTBEAT_NOT_SENT = "heartbeat_not_sent"
    """A heartbeat of a worker or of the service could not be published and was skipped."""
    LEADER_ELECTED = "leader_elected"
    """This instance is the leader of its service now."""
    LEADER_LOST = "leader_lost"
    """This instance is no longer the leader of its service."""
    LEADER_LEASE_NOT_RENEWED = "leader_lease_not_renewed"
    """The lease of the leader could not be taken or renewed."""
    LEADER_LEASE_NOT_RELEASED = "leader_lease_not_released"
    """A stopping leader could not release its lease, which now has to expire."""
    AUDIT_OUTCOME_NOT_STORED = "audit_outcome_not_stored"
    """An operator's action has ended, and NATS did not take the record of its outcome: the audit log has only its begin."""
    BULK_NOT_PRUNED = "bulk_not_pruned"
    """The records of bulk actions that ended long ago cannot be removed now. It is tried again a day later."""
    BULK_NOT_RUN = "bulk_not_run"
    """A process that serves cannot run a bulk action of an operator."""
    CONSOLE_NOT_LIVE = "console_not_live"
    """The console of operators does not follow stream JOBS, and shows what it has; it connects again."""
    CONSOLE_PAGE_FAILED = "console_page_failed"
    """The console could not make a page, because of a mistake of its own. The page shows the id of the error."""
    MAINTENANCE_OFF = "maintenance_off"
    """The account lacks a permission for a maintenance task, which is off in this process."""
    MAINTENANCE_FAILED = "maintenance_failed"
    """A maintenance task failed and runs again later."""


def log_fields(
    event: LogEvent,
    *,
    queue: str | None = None,
    job_id: str | None = None,
    key: str | None = None,
    attempt: int | None = None,
    stream: str | None = None,
    consumer: str | None = None,
    subject: str | None = None,
    group: str | None = None,
    rpc: str | None = None,
    feed: str | None = None,
    operation: str | None = None,
    operation_id: str | None = None,
    request_id: str | None = None,
    error_id: str | None = None,
    trace_id: str | None = None,
) -> dict[str, object]:
    """Return the `extra` of a log record: the event's name and the fields that are known.

    Args:
        event: what the record reports, as `event_name`.
        queue: the name of the job queue.
        job_id: the id of the job.
        key: the concurrency key, in its readable form.
        attempt: which attempt of the job, counted from 1.
        stream: the name of the JetStream stream.
        consumer: the name of the JetStream consumer.
        subject: the NATS subject.
        group: the name of the event consumer group.
        rpc: the name of the procedure.
        feed: the name of the feed.
        operation: the name of the operation.
        operation_id: the id of one operation that was started.
        request_id: the caller's id of a call.
        error_id: the id under which the caller got the error.
        trace_id: the trace that the job, the call or the event belongs to.
    """
    fields: dict[str, object] = {
        "queue": queue,
        "job_id": job_id,
        "key": key,
        "attempt": attempt,
        "stream": stream,
        "consumer": consumer,
        "subject": subject,
        "group": group,
        "rpc": rpc,
        "feed": feed,
        "operation": operation,
        "operation_id": operation_id,
        "request_id": request_id,
        "error_id": error_id,
        "trace_id": trace_id,
    }
    return {"event_name": str(event)} | {name: value for name, value in fields.items() if value is not None}
