"""The user's files: folders, manifests, archives and drops, decoded within limits.

Belongs here: everything that touches files nobody has vouched for.
Does not belong here: decoding pixels itself (``methods.imaging``), stored data
(``resources.store``).
"""
