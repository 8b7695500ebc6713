"""Records beside the stored data: dataset, output, shard and model records.

Belongs here: models of one object each, and the digests that protect stored bytes.
Does not belong here: tables (``data_contracts.tables``).
"""
