"""The store below MEDFEAT_HOME: atomic files, shards, records, models, checkpoints.

Belongs here: writing whole or not at all, and checking what is read.
Does not belong here: the user's own files (``resources.intake``).
"""
