"""The storage of jobs: the event log in JetStream, live updates, and the jobs that run in this process."""
