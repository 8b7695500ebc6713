"""Table contracts: the schema, the key and the row rules of every Parquet table that is stored.

Belongs here: one module for each kind of table, checked on every write and read; ``rules`` has the
row rules that they share.
Does not belong here: files that are not tables (``data_contracts.records``).
"""
