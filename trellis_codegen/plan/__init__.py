"""The input of the templates: a contract with every name, number and text decided, frozen."""
