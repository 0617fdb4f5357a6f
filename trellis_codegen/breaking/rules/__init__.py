"""The rules, as data: what changed, who breaks, how badly, and how to do it in two steps."""
