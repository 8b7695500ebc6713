"""The store below MEDFEAT_HOME: atomic files, shards, records, models, checkpoints.

Belongs here: files that are written completely or not at all, and checked when they are read.
Does not belong here: the user's own files (``resources.intake``).
"""
