"""Small parts that know neither NATS nor jobs: threads, signals, timers, grace periods, logging."""
