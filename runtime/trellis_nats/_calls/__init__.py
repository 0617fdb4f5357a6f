"""What the surfaces that answer requests share: how a call is read, and how an error is written and read."""
