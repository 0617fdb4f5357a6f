"""The projection: every job of stream JOBS as a row of a SQLite file, which can be deleted at any time.

`schema` is the file's layout, `database` opens it, `fold` turns events into changes of rows, `follower` reads the stream.
"""

from trellis_admin.projection.check import Checked, Difference, check_projection
from trellis_admin.projection.database import Database, ProjectionProblem, connect_reader
from trellis_admin.projection.follower import CaughtUp, catch_up, follow
from trellis_admin.projection.purged import forget_if_purged

__all__ = [
    "CaughtUp",
    "Checked",
    "Database",
    "Difference",
    "ProjectionProblem",
    "catch_up",
    "check_projection",
    "connect_reader",
    "follow",
    "forget_if_purged",
]
