"""State: values that the platform keeps for each user of an app, for each device, and for each agent."""

from trellis_nats.state.entry import OldStateEntry, StateEntry
from trellis_nats.state.store import StateMap, StateValue

__all__ = ["OldStateEntry", "StateEntry", "StateMap", "StateValue"]
