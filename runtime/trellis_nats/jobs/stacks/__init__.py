"""The stack of a running job: what its handler does now. `read_stack` needs a connection only."""

from trellis_nats.jobs.stacks.job_stack import JobStack, StackFrame
from trellis_nats.jobs.stacks.read_stack import read_stack

__all__ = ["JobStack", "StackFrame", "read_stack"]
