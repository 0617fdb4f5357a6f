"""What changed from one contract to another outside of schemas, surface by surface."""
