"""Commands that are more than a call: registration, prediction of a path, the demonstration.

Belongs here: the body of one command each; ``pipeline.cli`` reads the arguments and prints.
"""
