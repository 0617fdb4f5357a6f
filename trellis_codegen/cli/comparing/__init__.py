"""`trellis-gen breaking`: its sources, what it ignores, and its formats."""
