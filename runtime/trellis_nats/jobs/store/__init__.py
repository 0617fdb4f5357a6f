"""Where a job is kept: its event log in JetStream, live updates, and which jobs run in this process."""
