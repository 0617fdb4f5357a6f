"""Small parts without a subject of their own in NATS or jobs: threads, signals, grace periods, log throttling."""
