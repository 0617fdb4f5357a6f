"""The command line for operators of Trellis services."""

__all__: list[str] = []
