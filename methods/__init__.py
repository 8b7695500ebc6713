"""The science: pure functions and modules on arrays. No Dagster, no HDF5, no file system."""
