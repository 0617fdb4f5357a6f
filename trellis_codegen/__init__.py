"""Generates a typed Python package from a Trellis contract."""
