"""The entry of the ``medfeat`` command: Ctrl-C is heeded while the command is still loading."""

import os
import signal
import sys


def main() -> None:
    """Load the command line and run it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    try:
        from pipeline.cli import main
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.stderr.flush()
        os._exit(128 + signal.SIGINT)
    main()
