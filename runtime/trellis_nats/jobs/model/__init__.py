"""The model of a job: events, states, subjects, outcomes. Pure: no I/O and no clock."""
