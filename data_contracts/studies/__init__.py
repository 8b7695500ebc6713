"""Studies as data: one module for each paper, with its methods, tables and open choices.

Belongs here: what a paper says and which assets stand for it; ``registry`` lists every study.
Does not belong here: how a method is computed (``methods``) or stored (``assets``).
"""
