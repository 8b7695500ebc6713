"""The asset graph: assets, their checks, the jobs over them and the resources they use.

Everything that starts runs (commands, schedules, sensors) reads the graph from here. A new asset
is exported by its own sub-package of ``assets``; this module stays as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from assets import evaluations, features, images, predictions, reports
from assets.checks import CHECKS, contract_checks
from pipeline import environment
from pipeline.jobs import JOBS, PREDICTIONS, SUMMARY
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore

ASSETS = [
    *images.ASSETS,
    *features.ASSETS,
    *evaluations.ASSETS,
    *predictions.ASSETS,
    *reports.ASSETS,
]


def owned(assets: Sequence[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """Return assets with the owners that the environment names; as they are where it names none."""
    owners = environment.comma_separated(environment.value_of(environment.OWNERS))
    if not owners:
        return assets
    return list(dg.map_asset_specs(lambda of: of.replace_attributes(owners=owners), assets))


def build_graph(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Build fresh definitions of the graph; ``resource_overrides`` replaces resources by name."""
    return dg.Definitions(
        assets=owned(ASSETS),
        asset_checks=[*contract_checks(ASSETS), *CHECKS],
        jobs=[*JOBS.values(), PREDICTIONS, SUMMARY],
        resources={"store": DatasetStore(), "compute": Compute(), **(resource_overrides or {})},
    )


GRAPH = build_graph()
