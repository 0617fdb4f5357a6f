"""The command line of the generator."""


def main() -> None:
    """Run `trellis-gen`."""
