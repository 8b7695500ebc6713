"""Dagster assets, one module a stage, in the order the data flows. Not a folder of images."""
