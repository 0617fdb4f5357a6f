"""What the values of a model are, whether one model reads what another writes, and a value that shows that it does not."""
