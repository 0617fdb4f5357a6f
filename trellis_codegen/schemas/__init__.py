"""Named JSON Schemas → declarations of Python types."""
