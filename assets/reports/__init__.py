"""Assets that write what a person reads: study reports and the summary over all datasets.

Belongs here: reading stored tables and writing documents.
Does not belong here: how a document is laid out (``methods.reporting``).
"""
