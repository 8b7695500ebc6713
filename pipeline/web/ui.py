"""``python -m pipeline.web.ui``: the ``dagster`` command, whose ``dev`` starts our web server."""

from __future__ import annotations

from pipeline.dagster_internals import run_dagster_dev

if __name__ == "__main__":
    run_dagster_dev("pipeline.web.server")
