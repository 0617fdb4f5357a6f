"""Generates a typed Python package from a Trellis contract."""

__all__ = ["__version__"]

__version__ = "0.1.0"
"""The version of the distribution; pyproject.toml takes it from here."""
