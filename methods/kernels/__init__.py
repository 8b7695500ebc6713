"""Hand-written products and convolutions, kept only where they save much of a whole study.

Belongs here: code whose only purpose is speed; each has a plain twin in its test (see
    CONTRIBUTING.md).
Does not belong here: anything that decides what is computed.
"""
