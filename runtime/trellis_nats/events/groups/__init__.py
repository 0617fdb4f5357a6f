"""Event consumer groups: durable consumers of events, of which one instance works each event."""
