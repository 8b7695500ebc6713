"""The number of processor cores that this process may use."""

import os


def cores() -> int:
    """Return the cores that the process is bound to if known, else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
