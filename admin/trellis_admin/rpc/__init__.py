"""The admin RPCs of the reference (`trellis.jobs@v1`), for consoles and tools of other runtimes.

`trellis_jobs_participant` is generated from `contracts/trellis_jobs.manifest.json`. `job_object` gives jobs the form of the wire,
`listing`, `reading` and `steering` answer, `serving` registers them.
"""

from trellis_admin.rpc.serving import serve_admin_rpcs

__all__ = ["serve_admin_rpcs"]
