"""The one partition dimension: a dataset."""

import dagster as dg

DATASETS = dg.DynamicPartitionsDefinition(name="dataset")
