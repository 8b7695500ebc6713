"""Schemas, records and specifications of the data between stages, each with its rules.

Belongs here: everything that one stage writes and another reads, and the rules that both check.
Does not belong here: reading or writing files, computing anything, importing any other folder.
"""
