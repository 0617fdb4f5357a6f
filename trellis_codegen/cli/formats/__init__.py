"""The formats of `--format`: each renders the result of a run."""
