"""The science: pure functions and modules on arrays.

Belongs here: everything that is computed from arrays, rows or bytes, with seeds and devices as
    arguments.
Does not belong here: Dagster, HDF5, the store, paths of files.
"""
