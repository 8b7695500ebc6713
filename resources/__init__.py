"""Outside resources of a stage: the store, weights, devices, a dataset's files.

Belongs here: files, processes, devices and Dagster's resources.
Does not belong here: assets, and science on arrays.
"""
