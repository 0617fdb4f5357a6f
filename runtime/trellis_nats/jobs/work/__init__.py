"""Working a queue: from a pulled message to a stored outcome."""
