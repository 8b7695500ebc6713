"""Keeps decoding libraries from warning while any thread decodes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class _WarningGuard:
    """Ignores the warnings of given modules while any thread decodes.

    Warning filters belong to the process: two guards that save and restore them would undo each
    other when they overlap. So there is one guard for all libraries. It saves the filters when the
    first thread enters and restores them when the last one leaves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_threads = 0
        self._silenced: set[str] = set()
        self._saved_filters = ExitStack()

    @contextmanager
    def __call__(self, modules: str, prepare: Callable[[], None] | None = None) -> Iterator[None]:
        """Ignore the warnings of modules whose names match.

        Args:
            modules: regular expression of the names of the modules.
            prepare: function called after the filter is set and before the block runs, once for all
                threads that are inside at the same time.
        """
        with self._lock:
            if self._n_threads == 0:
                self._saved_filters.enter_context(warnings.catch_warnings())
            if modules not in self._silenced:
                warnings.filterwarnings("ignore", module=modules)
                if prepare is not None:
                    prepare()
                self._silenced.add(modules)
            self._n_threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_threads -= 1
                if self._n_threads == 0:
                    self._silenced.clear()
                    self._saved_filters.close()


ignoring_warnings = _WarningGuard()
