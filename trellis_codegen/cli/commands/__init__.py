"""The options of each command. What a command does is imported when it runs."""
