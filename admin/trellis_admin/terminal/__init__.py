"""What commands print, and ask: tables, times, JSON, progress and confirmations."""

from trellis_admin.terminal.asking import Declined, confirm_count
from trellis_admin.terminal.output import print_json, print_table, print_text
from trellis_admin.terminal.progress import ProgressLine
from trellis_admin.terminal.tables import Column, Table, to_plain
from trellis_admin.terminal.times import show_age, show_instant, show_length, show_past
from trellis_admin.terminal.wire_json import to_wire

__all__ = [
    "Column",
    "Declined",
    "ProgressLine",
    "Table",
    "confirm_count",
    "print_json",
    "print_table",
    "print_text",
    "show_age",
    "show_instant",
    "show_length",
    "show_past",
    "to_plain",
    "to_wire",
]
