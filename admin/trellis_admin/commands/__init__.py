"""The commands of `trellis`: one module each, thin over functions that a program can call too."""

__all__: list[str] = []
