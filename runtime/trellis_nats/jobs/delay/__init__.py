"""Jobs that wait for long are parked in a stream of their own, so that they hold no delivery of their queue."""
