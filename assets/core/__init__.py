"""What the assets share: the stage around a plan, partitions, rows, scoring, checkpoints.

Belongs here: what two or more assets of different folders need.
Does not belong here: any asset.
"""
