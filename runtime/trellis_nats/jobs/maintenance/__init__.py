"""The maintenance of a service: heartbeats, the search for lost jobs, and the purge of ended ones.

Every worker publishes heartbeats (`worker_heartbeat`). One instance at a time, elected through a lease (`leader`),
enqueues lost jobs again (`job_rescuer`) and purges the histories of ended jobs (`job_cleaner`). The decisions are pure:
`leader_lease`, `lost_job`, `open_jobs`, `retention`. `maintainer` runs everything.
"""
