"""The formats of `--format`: each turns what a run has to say into text."""
