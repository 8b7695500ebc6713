"""Care of the store and of Dagster's history: the doctor, health, forgetting, disk space.

Belongs here: finding and mending damage, removing a dataset.
Does not belong here: computing results.
"""
