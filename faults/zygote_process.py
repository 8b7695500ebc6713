"""The process of a zygote: it reads orders from standard input and answers on standard output.

Children print into the file that is named.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module

from tests.forked_command import LOADED


def main() -> None:
    """Read and follow orders."""
    # Loaded once, here: half of the seconds of a small study are the imports of its stages.
    for module in LOADED:
        import_module(module)
    from faults import study
    from resources.store import feature_store

    feature_store.SHARD_ROWS = study.SHARD_ROWS
    answers = os.fdopen(os.dup(1), "w")
    log = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(
                os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), file=answers, flush=True
            )
            continue
        child = os.fork()
        if child == 0:
            os.setsid()
            os.environ.update(order["environment"])
            status = 1
            try:
                getattr(study, order["work"])()
                status = 0
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        print(child, file=answers, flush=True)


if __name__ == "__main__":
    main()
