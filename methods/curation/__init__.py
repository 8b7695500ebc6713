"""Which images are used, and on which side: manifest rows, splits, leaks, near-duplicates.

Belongs here: decisions about rows of a manifest. Does not belong here: anything that reads a file
or fits a model.
"""
