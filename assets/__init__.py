"""Dagster assets in the order the data flows. Not a folder of images.

Belongs here: plans that load, call ``methods`` and return what to store.
Does not belong here: science (``methods``), jobs and schedules (``pipeline``).
"""
