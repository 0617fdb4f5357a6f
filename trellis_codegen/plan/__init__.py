"""What the templates may see: a contract with every name, number and word decided, frozen."""
