"""Runs that start by themselves: schedules, sensors, staleness, backfills.

Belongs here: deciding when a run is asked for, and with which settings.
Does not belong here: what a run does.
"""
