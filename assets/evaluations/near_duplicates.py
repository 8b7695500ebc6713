"""What makes an evaluation look better than it is, found by looking: near-duplicates of training
images among the test images.
"""

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.partitions import DATASETS
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.features.frozen_networks import alexnet_conv5, open_features
from assets.images import image_manifest, manifest_of, prepared_images
from data_contracts.tables.manifest import ok_rows
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from resources.store.dataset_store import DatasetStore

SHOWN_PAIRS = 12


@dg.asset(
    partitions_def=DATASETS,
    group_name="evaluation",
    deps=[image_manifest, prepared_images, alexnet_conv5],
    kinds={"python", "parquet"},
    code_version="2",
    tags={"stage": "4"},
)
def near_duplicates(
    context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Test images that show nearly the same picture as a training image: by perceptual hash,
    confirmed by conv5 cosine.
    """
    from methods.curation import near_duplicates as method

    dataset = context.partition_key
    with plain_failures():
        rows = [
            row
            for row in ok_rows(manifest_of(store, dataset)).to_pylist()
            if row["split"] in ("train", "test")
        ]
        train, test = ([row for row in rows if row["split"] == side] for side in ("train", "test"))
        sides = [
            open_features(store, dataset, "alexnet_conv5", [row["image_id"] for row in side])
            for side in (train, test)
        ]

    def compute(work: Work) -> Output:
        from methods.reporting import figures

        hashes = [
            np.array([row["perceptual_hash"] for row in side], np.uint64) for side in (train, test)
        ]
        pairs = method.find_near_duplicates(hashes[0], hashes[1], sides[0].take, sides[1].take)
        lines = [
            {
                "train_id": train[pair.first]["image_id"],
                "test_id": test[pair.second]["image_id"],
                "train_path": train[pair.first]["path"],
                "test_path": test[pair.second]["path"],
                "distance": pair.distance,
                "similarity": pair.similarity,
                "mirrored": pair.mirrored,
            }
            for pair in pairs
        ]
        table = pa.Table.from_pylist(lines, schema=NEAR_DUPLICATES.schema)
        affected = len({pair.second for pair in pairs})
        share = affected / len(test) if test else 0.0
        notices = (
            [
                f"NEAR-DUPLICATES: {affected} of {len(test)} test images ({share:.1%}) closely resemble a training image"
            ]
            if affected
            else []
        )
        if store.need_record(dataset, "alexnet_conv5").notices:
            notices.append(
                "NEAR-DUPLICATES UNSURE: their thresholds were found with ImageNet weights, which were not used here"
            )
        pictures = []
        if lines:
            ids = [line[side] for line in lines[:SHOWN_PAIRS] for side in ("train_id", "test_id")]
            images = open_features(store, dataset, "prepared_images", ids)
            position = {image_id: i for i, image_id in enumerate(images.image_ids)}
            captions = [
                text
                for line in lines[:SHOWN_PAIRS]
                for text in ("train", f"test {line['similarity']:.3f}")
            ]
            pictures.append(
                (
                    "most similar pairs across the split",
                    figures.sample_grid(list(images.take([position[i] for i in ids])), captions),
                )
            )
            images.close()
        return Output(
            content=lines,
            files=[
                store.write_table(
                    dataset,
                    work.asset,
                    f"{work.fingerprint}.near_duplicates.parquet",
                    table,
                    NEAR_DUPLICATES,
                )
            ],
            pictures=pictures,
            summary={
                "pairs": len(pairs),
                "test images concerned": affected,
                "share of the test images": round(share, 4),
            },
            notices=notices,
            rows=len(pairs),
        )

    try:
        return materialize(
            context,
            store,
            config,
            compute,
            inputs=("image_manifest", "prepared_images", "alexnet_conv5"),
            known_by={
                "features": sides[0].feature_set.key,
                "rows": [[row["image_id"], row["split"], row["path"]] for row in rows],
            },
        )
    finally:
        for reader in sides:
            reader.close()
