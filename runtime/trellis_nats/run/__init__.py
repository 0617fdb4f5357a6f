"""Runs a service in several processes on one machine: `python -m trellis_nats.run MODULE:FUNCTION --processes N`."""
