"""What every test may ask for."""

pytest_plugins = ["trellis_nats.testing.plugin"]
