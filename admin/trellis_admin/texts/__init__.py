"""What jobs, queues, keys and actions look like as text. Pure."""

__all__: list[str] = []
