"""Unpacking a .npz file of images and labels into a folder with a manifest, and refusing anything
else."""

import csv
import errno
import io
import os
import random
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake import npz_images
from resources.intake.archives import ArchiveLimits, RefusedArchiveError, refusal
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import scan
from resources.intake.npz_images import is_npz, unpack_npz
from resources.store.dataset_store import DatasetStore

RNG = np.random.default_rng(3)


def grey(n: int, height: int = 7, width: int = 5) -> np.ndarray:
    return RNG.integers(0, 256, (n, height, width), dtype=np.uint8)


def colour(n: int) -> np.ndarray:
    return RNG.integers(0, 256, (n, 6, 9, 3), dtype=np.uint8)


def npy(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def header(
    shape: str, descr: str = "'|u1'", order: str = "False", version: bytes = b"\1\0"
) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    length = struct.pack("<H" if version == b"\1\0" else "<L", len(text))
    return b"\x93NUMPY" + version + length + text


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def refused(file: Path, reason: str) -> None:
    before = everything(file.parent)
    with pytest.raises(RefusedArchiveError) as caught:
        unpack_npz(file, file.parent / "target")
    assert str(caught.value) == reason
    assert everything(file.parent) == before


def test_suffix_in_any_case():
    assert [is_npz(Path(name)) for name in ("a.npz", "A.NPZ", "a.npy", "a.npz.zip")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("make", [grey, colour, lambda n: grey(n)[..., None]])
def test_pixels_and_labels_come_out_as_they_went_in(tmp_path, save, make):
    """More images than are read at a time, in all three splits."""
    arrays = {
        f"{split}_images": make(n) for split, n in (("train", 520), ("val", 3), ("test", 256))
    }
    labels = {
        f"{split}_labels": RNG.integers(0, 9, (n, 1))
        for split, n in (("train", 520), ("val", 3), ("test", 256))
    }
    save(tmp_path / "x.npz", **labels, **arrays)
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    listed = rows(tmp_path / "target")
    assert [row["split"] for row in listed] == ["train"] * 520 + ["val"] * 3 + ["test"] * 256
    assert len(everything(tmp_path / "target")) == 3 + 1 + 779
    assert {row["group_id"] for row in listed} == {""}
    for split in ("train", "val", "test"):
        of_split = [row for row in listed if row["split"] == split]
        assert [row["path"] for row in of_split] == [
            f"{split}/{number:07d}.bmp" for number in range(len(of_split))
        ]
        assert [row["label"] for row in of_split] == [
            str(label) for label in labels[f"{split}_labels"][:, 0]
        ]
        for row, image in zip(of_split, arrays[f"{split}_images"], strict=True):
            with Image.open(tmp_path / "target" / row["path"]) as stored:
                assert stored.mode == ("RGB" if make is colour else "L")
                assert np.array_equal(np.asarray(stored), image.squeeze())


def test_the_bytes_of_the_files(tmp_path):
    """Worked by hand: a grey BMP of 2x1 has 54 bytes of header, 1024 of palette, and a row padded
    to 4."""
    np.savez(
        tmp_path / "x.npz",
        train_images=np.array([[[7, 200]]], np.uint8),
        train_labels=np.array([4]),
    )
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert (
        tmp_path / "target" / "manifest.csv"
    ).read_bytes() == b"path,label,split,group_id\ntrain/0000000.bmp,4,train,\n"
    data = (tmp_path / "target" / "train" / "0000000.bmp").read_bytes()
    assert data[:6] == b"BM" + struct.pack("<L", 54 + 1024 + 4)
    assert data[54:1078] == b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    assert data[1078:] == bytes([7, 200, 0, 0])
    assert (tmp_path / "target" / "train" / "0000000.bmp").stat().st_mtime_ns == 0


def test_the_pipeline_sees_a_normal_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "site.key"))
    monkeypatch.setenv("MEDFEAT_DROPS", str(tmp_path / "drops"))
    np.savez_compressed(
        tmp_path / "x.npz",
        train_images=colour(4),
        train_labels=[0, 1, 0, 1],
        test_images=colour(2),
        test_labels=[1, 0],
    )
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    spec = DatasetSpec(name="x", root=tmp_path / "target", show_names=True)
    manifest = scan(
        find_arrivals(DatasetStore(home=str(tmp_path / "home")), spec).intake
    ).to_pylist()
    assert [(row["status"], row["label"], row["split"]) for row in manifest] == [
        ("ok", "1", "test"),
        ("ok", "0", "test"),
        ("ok", "0", "train"),
        ("ok", "1", "train"),
        ("ok", "0", "train"),
        ("ok", "1", "train"),
    ]


def test_columns_of_0_and_1_are_many_labels(tmp_path):
    labels = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])
    np.savez(tmp_path / "x.npz", train_images=grey(3), train_labels=labels)
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert [row["label"] for row in rows(tmp_path / "target")] == ["0|3", "", "1"]


@pytest.mark.parametrize("dtype", [">i4", "<u8", "i1", "<i8"])
def test_labels_of_any_integer_type(tmp_path, dtype):
    np.savez(tmp_path / "x.npz", images=grey(3), labels=np.array([5, 0, 127], dtype))
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert [(row["path"], row["label"], row["split"]) for row in rows(tmp_path / "target")] == [
        ("images/0000000.bmp", "5", ""),
        ("images/0000001.bmp", "0", ""),
        ("images/0000002.bmp", "127", ""),
    ]


def test_any_subset_and_no_labels(tmp_path):
    np.savez(
        tmp_path / "x.npz",
        val_images=grey(2),
        val_labels=[1, 2],
        test_images=grey(1),
        train_images=grey(0),
    )
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert [(row["path"], row["label"]) for row in rows(tmp_path / "target")] == [
        ("val/0000000.bmp", "1"),
        ("val/0000001.bmp", "2"),
        ("test/0000000.bmp", ""),
    ]


def test_the_second_version_of_the_header(tmp_path):
    images = grey(2)
    make_zip(tmp_path / "x.npz", {"images.npy": npy(images, version=(2, 0))})
    unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert len(rows(tmp_path / "target")) == 2


def test_an_array_is_never_in_memory_as_a_whole(tmp_path):
    images = np.zeros((3000, 128, 128), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", train_images=images, train_labels=np.zeros(3000, int))
    del images
    tracemalloc.start()
    try:
        unpack_npz(tmp_path / "x.npz", tmp_path / "target")
        assert tracemalloc.get_traced_memory()[1] < 24 * 2**20  # of 47
    finally:
        tracemalloc.stop()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/medfeat_unpickled",)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"train_images": np.zeros((2, 4, 4, 4), np.uint8)}, npz_images.VOLUMES),
        ({"train_images": np.zeros((2, 4, 4, 4, 3), np.uint8)}, npz_images.VOLUMES),
        ({"train_images": np.zeros((2, 4), np.uint8)}, npz_images.SHAPE),
        ({"train_images": np.zeros((), np.uint8)}, npz_images.SHAPE),
        ({"train_images": np.zeros((2, 0, 4), np.uint8)}, npz_images.SHAPE),
        ({"train_images": np.zeros((2, 4, 4))}, npz_images.NOT_UINT8),
        ({"train_images": np.zeros((2, 4, 4), np.int8)}, npz_images.NOT_UINT8),
        ({"train_images": np.zeros((2, 4, 4), bool)}, npz_images.NOT_UINT8),
        ({"train_images": np.zeros((2, 4, 4), [("a", "u1")])}, npz_images.NOT_UINT8),
        ({"train_images": np.array([Evil()])}, npz_images.OBJECTS),
        ({"train_images": grey(2), "train_labels": np.array([Evil(), Evil()])}, npz_images.OBJECTS),
        ({"train_images": np.asfortranarray(grey(2))}, npz_images.FORTRAN),
        ({"train_images": grey(2), "train_labels": np.array([1.0, 2.0])}, npz_images.LABEL_TYPE),
        ({"train_images": grey(2), "train_labels": np.array(["a", "b"])}, npz_images.LABEL_TYPE),
        (
            {"train_images": grey(2), "train_labels": np.array([[0, 2], [1, 1]])},
            npz_images.LABEL_SHAPE,
        ),
        (
            {"train_images": grey(2), "train_labels": np.zeros((2, 1, 1), int)},
            npz_images.LABEL_SHAPE,
        ),
        ({"train_images": grey(2), "train_labels": np.zeros((2, 0), int)}, npz_images.LABEL_SHAPE),
        ({"train_images": grey(2), "train_labels": np.array(3)}, npz_images.LABEL_SHAPE),
        ({"train_images": grey(2), "train_labels": np.array([1, 2, 3])}, npz_images.LENGTHS),
        ({"train_images": grey(2), "val_labels": np.array([1, 2])}, npz_images.NO_IMAGES_OF_LABELS),
        ({"train_images": grey(0)}, npz_images.NO_IMAGES),
        ({"train_images": grey(2), "extra": grey(2)}, npz_images.UNKNOWN),
        ({f"a{number}": grey(1) for number in range(9)}, npz_images.UNKNOWN),
    ],
)
def test_arrays_that_are_not_images_and_labels(tmp_path, arrays, reason):
    np.savez(tmp_path / "x.npz", **arrays)
    refused(tmp_path / "x.npz", reason)
    assert not Path("/tmp/medfeat_unpickled").exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", npz_images.NOT_NPY),
        (b"\x80\x04}q\0.", npz_images.NOT_NPY),
        (b"\x93NUMPY\3\0" + bytes(100), npz_images.NOT_NPY),
        (b"\x93NUMPY\2\0" + struct.pack("<L", 2**31), npz_images.NOT_NPY),
        (header("(2, 2, 2)"), refusal.DAMAGED),
        (header("(2, 2, 2)") + bytes(7), refusal.DAMAGED),
        (header("(2, 2, 2)") + bytes(9), refusal.DAMAGED),
        (header("(-2, 2, -2)") + bytes(8), refusal.DAMAGED),
        (header(f"({2**62}, {2**62}, 4)") + bytes(8), refusal.DAMAGED),
        (header("(1, 20000, 5001)") + bytes(20000 * 5001), npz_images.LARGE_IMAGE),
        (header("(1000001, 1, 1)") + bytes(1000001), "too many images"),
        (header("(2, 2, 2)", descr="__import__('os')") + bytes(8), refusal.DAMAGED),
        (header("(2, 2, 2)", order="True") + bytes(8), npz_images.FORTRAN),
        (header("(2, 2, 2)", descr="'|O'", version=b"\2\0") + bytes(64), npz_images.OBJECTS),
    ],
)
def test_members_that_are_not_what_numpy_writes(tmp_path, data, reason):
    refused(make_zip(tmp_path / "x.npz", {"images.npy": data}), reason)


def test_members_besides_arrays(tmp_path):
    good = npy(grey(1))
    refused(make_zip(tmp_path / "x.npz", {"images.npy": good, "images": good}), npz_images.UNKNOWN)
    refused(make_zip(tmp_path / "x.npz", {"../images.npy": good}), npz_images.UNKNOWN)
    refused(make_zip(tmp_path / "x.npz", {"images.npy/": b""}), npz_images.UNKNOWN)
    refused(make_zip(tmp_path / "x.npz", {"images.npy": good}, zipfile.ZIP_LZMA), refusal.METHOD)
    refused(make_zip(tmp_path / "x.npz", {}), npz_images.NO_IMAGES)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", good)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("images.npy", good)
    refused(tmp_path / "x.npz", refusal.SAME_NAME)


def test_more_than_the_limit_is_refused_by_its_header(tmp_path):
    """17 GiB declared in the list of members, none of it there."""
    raw = bytearray(
        make_zip(
            tmp_path / "x.npz", {f"{split}_images.npy": npy(grey(1)) for split in ("train", "test")}
        ).read_bytes()
    )
    for number in range(len(raw) - 4):
        if raw[number : number + 4] == b"PK\1\2":
            raw[number + 24 : number + 28] = b"\xfe\xff\xff\xff"
    (tmp_path / "x.npz").write_bytes(raw)
    refused(tmp_path / "x.npz", refusal.DAMAGED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npz_images, "_LIMITS", ArchiveLimits(members=8, total_bytes=7 * 2**30))
        refused(tmp_path / "x.npz", "it unpacks to more than 7 GiB")


def test_a_wrong_checksum_and_a_file_cut_off(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=grey(300), train_labels=np.arange(300))
    whole = (tmp_path / "x.npz").read_bytes()
    for place in (2000, len(whole) - 2000):
        raw = bytearray(whole)
        raw[place] ^= 1
        (tmp_path / "x.npz").write_bytes(raw)
        refused(tmp_path / "x.npz", refusal.DAMAGED)
    for place in (0, 10, 500, len(whole) // 2, len(whole) - 1):
        (tmp_path / "x.npz").write_bytes(whole[:place])
        refused(tmp_path / "x.npz", refusal.DAMAGED)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_flipped_bytes_are_refused_or_harmless(tmp_path, save):
    file = tmp_path / "a" / "x.npz"
    file.parent.mkdir()
    save(
        file,
        train_images=grey(4),
        train_labels=np.arange(4),
        images=grey(2, 3, 3),
        labels=np.eye(2, 3, dtype=int),
    )
    whole = file.read_bytes()
    dice = random.Random("flips")
    outcomes = set()
    for _ in range(500):
        raw = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 5))):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        file.write_bytes(raw)
        try:
            unpack_npz(file, tmp_path / "a" / "target")
        except RefusedArchiveError as error:
            outcomes.add(str(error))
        else:
            assert len(rows(tmp_path / "a" / "target")) > 0
            shutil.rmtree(tmp_path / "a" / "target")
        assert everything(tmp_path) == {file, file.parent}
    assert refusal.DAMAGED in outcomes


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written")]
)
@pytest.mark.parametrize("call", ["write", "open"])
def test_a_disk_that_cannot_be_written(tmp_path, monkeypatch, number, what, call):
    np.savez(tmp_path / "x.npz", train_images=grey(3))

    plain = getattr(os, call)

    def fail(*arguments, **options):
        if call == "write" or arguments[1] & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return plain(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(InputError, match=what):
            unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    assert everything(tmp_path) == {tmp_path / "x.npz"}


def test_a_target_that_exists(tmp_path):
    np.savez(tmp_path / "x.npz", train_images=grey(3))
    (tmp_path / "target").mkdir()
    with pytest.raises(InputError, match="exists already"):
        unpack_npz(tmp_path / "x.npz", tmp_path / "target")
    with pytest.raises(InputError, match="cannot be read"):
        unpack_npz(tmp_path / "y.npz", tmp_path / "new")
