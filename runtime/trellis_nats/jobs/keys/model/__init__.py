"""The record of a concurrency key, and every decision about it. Pure: no I/O and no clock."""
