"""What an operation is: its stored record, and how it changes. Pure."""
