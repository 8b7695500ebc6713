"""Sets of rows that are computed from other rows."""

from data_contracts.records.feature_shard import FeatureSet

SOURCE = FeatureSet(
    kind="alexnet_conv5",
    dtype="float16",
    row_shape=(256, 6, 6),
    preprocessing={"resize": "stretch"},
    backbone="alexnet",
    weights_sha256="a" * 64,
    layer="conv5",
    method={"precision": "bfloat16"},
    code_version="3",
)


def test_a_derived_set_keeps_images_network_weights_and_layer_alone() -> None:
    derived = SOURCE.derived(
        kind="cae_features",
        dtype="float32",
        row_shape=(16, 3, 3),
        method={"features": SOURCE.key},
        code_version="1",
    )
    assert derived == FeatureSet(
        kind="cae_features",
        dtype="float32",
        row_shape=(16, 3, 3),
        preprocessing={"resize": "stretch"},
        backbone="alexnet",
        weights_sha256="a" * 64,
        layer="conv5",
        method={"features": SOURCE.key},
        code_version="1",
    )


def test_the_preparation_names_the_set_of_prepared_images() -> None:
    assert SOURCE.preparation == {"resize": "stretch", "prepared_by": SOURCE.key}
    assert SOURCE.preprocessing == {"resize": "stretch"}
