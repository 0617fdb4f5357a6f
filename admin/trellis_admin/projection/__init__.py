"""The projection: every job of stream JOBS as a row of a SQLite file, which can be deleted at any time.

`schema` is the file's layout, `database` opens it, `fold` turns events into changes of rows, `follower` reads the stream.
"""

from trellis_admin.projection.database import Database, ProjectionProblem, connect_reader
from trellis_admin.projection.follower import CaughtUp, catch_up, follow

__all__ = ["CaughtUp", "Database", "ProjectionProblem", "catch_up", "connect_reader", "follow"]
