"""What Dagster loads: the asset graph, and the schedules and sensors that start its jobs."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipeline import graph
from pipeline.automation.schedules import SCHEDULES
from pipeline.automation.sensors import SENSORS
from pipeline.care.retention import history, nightly_history


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Merge the graph with what starts its jobs; ``resource_overrides`` replaces resources."""
    # Not imported by name: Dagster refuses a module in which it finds two ``Definitions``.
    assets = graph.build_graph(resource_overrides) if resource_overrides else graph.GRAPH
    automation = dg.Definitions(
        jobs=[history], schedules=[*SCHEDULES, nightly_history], sensors=SENSORS
    )
    return dg.Definitions.merge(assets, automation)


defs = build_defs()
