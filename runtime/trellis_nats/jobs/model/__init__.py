"""What a job is: events, states, subjects, outcomes. Pure: no I/O and no clock."""
