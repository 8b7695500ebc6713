"""What a stage needs from outside: the store, weights, devices, the files of a dataset.

Belongs here: files, processes, devices and Dagster's resources.
Does not belong here: assets, and science on arrays.
"""
