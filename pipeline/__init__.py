"""Ways to start work: definitions, jobs, schedules and the command line."""
