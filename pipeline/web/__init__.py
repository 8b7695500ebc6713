"""Dagster's web UI on this machine, behind a guard.

Belongs here: its address, its guard, its server and its start.
"""
