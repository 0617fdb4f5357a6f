"""What every test may ask for."""

import signal

from hypothesis import settings

pytest_plugins = ["trellis_nats.testing.plugin"]

# Started in the background, as by `make test &` or by some CI, a shell has SIGINT ignored, and children inherit that:
# nothing that a test interrupts would ever end. With a handler here, children begin with the default action.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A property test is not a benchmark: a machine under load fails no test.
settings.register_profile("trellis", deadline=None)
settings.load_profile("trellis")
