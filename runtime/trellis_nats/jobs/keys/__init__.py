"""Keyed concurrency: a limit on the active jobs of one key, across all instances of a service.

Each key has a record in the bucket `JOBS_KEYS_<namespace>`, with its active and its waiting jobs. `model` is pure: the
key of a payload, the record, and every decision about it. `key_store` applies the decisions by compare-and-set. `create`
and `reservations` let new jobs in, `acquire`, `wait_queue` and `lease` give them their slots, `orphans` cleans up.
"""
