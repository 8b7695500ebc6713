"""Assets that store figures of merit and findings about the split.

Belongs here: assets whose output is a table of metrics or of findings.
Does not belong here: features, reports.
"""
