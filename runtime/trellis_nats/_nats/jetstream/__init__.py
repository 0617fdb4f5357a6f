"""JetStream as this runtime uses it: its API, acknowledged writes, pulls, stream reads, key-value buckets."""
