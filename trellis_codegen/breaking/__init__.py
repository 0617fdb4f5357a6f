"""Compares two versions of a contract: which change breaks whom, with a value that shows it."""
