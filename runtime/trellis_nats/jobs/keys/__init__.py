"""Keyed concurrency: at most so many active jobs of one key, across all instances of a service.

A record per key stands in the bucket `JOBS_KEYS_<namespace>`: who is active, who waits. `template` says which key a
payload has; `record`, `admission`, `slots` and `sighting` are pure; `store` runs them under compare-and-set; the rest
connects them with the jobs.
"""
