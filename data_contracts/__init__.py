"""Schemas, records and specifications of what crosses a stage, each with its rules.

Belongs here: what is written by one stage and read by another, and the rules that both sides check.
Does not belong here: reading or writing files, computing anything, importing any other folder.
"""
