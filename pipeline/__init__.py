"""Ways to start work: definitions, jobs, schedules, the command line and the web UI.

Belongs here: what Dagster loads, what a person types, what runs by itself.
Does not belong here: assets and their work.
"""
