"""What changed from one schema to another, and which rule names it."""
