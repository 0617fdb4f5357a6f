"""`python -m trellis_codegen` is `trellis-gen`."""

from trellis_codegen.cli import main

main()
