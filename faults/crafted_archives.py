"""Crafted zip and tar files, each as a file of a dataset or a drop beside good images."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable

from faults.crafted_ground import Ground, png, refused
from resources.intake.archives import refusal

Attack = Callable[[Ground], None]
ZEROS = 2**23
TAR, ZIP = "B/evil.tar", "B/evil.zip"


def rejected(ground: Ground, name: str, data: bytes, reason: str) -> None:
    """Check that the archive is one rejected file, and that nothing of it was unpacked."""
    ground.put(name, data)
    ground.refuse(f"archive refused: {reason}")
    unpacked = ground.store.root / "unpacked"
    assert [path for path in unpacked.rglob("*") if not path.is_dir()] == [], (
        "something of it was unpacked"
    )


def zipped(reason: str, *names: str) -> Attack:
    """Write a zip of pictures under these names."""

    def attack(ground: Ground) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for number, name in enumerate(names):
                info = zipfile.ZipInfo("x")
                info.filename = name.format(outside=ground.outside)
                archive.writestr(info, png(100 + number))
        rejected(ground, ZIP, out.getvalue(), reason)

    return attack


def zip_with_modes(reason: str, *members: tuple[str, int, str]) -> Attack:
    """Write members with the mode of a link or a device, whose content is the link's target."""

    def attack(ground: Ground) -> None:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, mode, content in members:
                info = zipfile.ZipInfo(name)
                info.create_system, info.external_attr = 3, mode << 16
                archive.writestr(info, content.format(outside=ground.outside))
        rejected(ground, ZIP, out.getvalue(), reason)

    return attack


def zip_with_a_zero_byte(ground: Ground) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("evil.png#.txt", png(100))
    rejected(ground, ZIP, out.getvalue().replace(b"png#", b"png\0"), refusal.NUL_NAME)


def zip_of_one_body_for_many(ground: Ground) -> None:
    """Write 65,000 entries that share one packed body (the bomb of Fifield, 2019)."""
    packer = zlib.compressobj(wbits=-15)
    body = packer.compress(bytes(2**20)) + packer.flush()
    crc = zlib.crc32(bytes(2**20))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(body), 2**20, 5, 0)
    entries = [
        struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(body), 2**20, 5, 0, 0, 0, 0, 0, 0
        )
        + b"a.png"
        for _ in range(65_000)
    ]
    start = len(local) + 5 + len(body)
    listed = b"".join(entries)
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", 0, 0, len(entries), len(entries), len(listed), start, 0
    )
    rejected(ground, ZIP, local + b"a.png" + body + listed + end, refusal.OVERLAP)


def zip_bomb(ground: Ground) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evil.png", bytes(ZEROS))
    rejected(ground, ZIP, out.getvalue(), "it is packed more than 200 times")


def zip_of_many(ground: Ground) -> None:
    """Write a thousand empty files, and at the end one outside: no file may remain."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(1000):
            archive.writestr(zipfile.ZipInfo(f"{number % 100}/{number}"), b"")
        archive.writestr("../evil.png", png(100))
    rejected(ground, ZIP, out.getvalue(), refusal.LEAVES)


def zip_within_a_zip(ground: Ground) -> None:
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("../evil.png", png(100))
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("B/inner.zip", inner.getvalue())
    ground.put(ZIP, outer.getvalue())
    ground.refuse("an archive within an archive is not unpacked")


def a_zip_as_the_dataset(ground: Ground) -> None:
    ground.put("evil.zip", b"")
    with zipfile.ZipFile(ground.root / "evil.zip", "w") as archive:
        archive.writestr("A/good.png", png(100))
        archive.writestr("../../evil.png", png(101))
    with refused(refusal.LEAVES.removesuffix("..")):
        ground.take_in(ground.root / "evil.zip")


def a_zip_as_a_drop(ground: Ground) -> None:
    ground.drops.mkdir(parents=True)
    with zipfile.ZipFile(ground.drops / "evil.zip", "w") as archive:
        archive.writestr("../../../evil.png", png(100))
    (ground.drops / "evil.zip._READY").touch()
    ground.refuse(f"archive refused: {refusal.LEAVES}")


def tarred(
    reason: str, *members: tuple[str, bytes, str], headers: dict[str, str] | None = None
) -> Attack:
    """Write members of a name, a type and a link's target."""

    def attack(ground: Ground) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, kind, link in members:
                member = tarfile.TarInfo(name.format(outside=ground.outside))
                member.type, member.linkname = kind, link.format(outside=ground.outside)
                data = png(100) if kind == tarfile.REGTYPE else b""
                member.size, member.pax_headers = len(data), headers or {}
                archive.addfile(member, io.BytesIO(data))
        rejected(ground, TAR, out.getvalue(), reason)

    return attack


def tar_bomb(suffix: str, pack: Callable[[bytes], bytes]) -> Attack:
    def attack(ground: Ground) -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            member = tarfile.TarInfo("evil.png")
            member.size = ZEROS
            archive.addfile(member, io.BytesIO(bytes(ZEROS)))
        rejected(
            ground, f"B/evil.tar.{suffix}", pack(out.getvalue()), "it is packed more than 200 times"
        )

    return attack


LINK, FILE, HARD, DEVICE = tarfile.SYMTYPE, tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
CRAFTED: dict[str, Attack] = {
    "zip: ..": zipped(refusal.LEAVES, "good.png", "../../../evil.png"),
    "zip: absolute": zipped(refusal.LEAVES, "{outside}/evil.png"),
    "zip: backslashes": zipped(refusal.LEAVES, "..\\..\\evil.png"),
    "zip: drive": zipped(refusal.BACKSLASH, "C:evil.png"),
    "zip: zero byte": zip_with_a_zero_byte,
    "zip: symbolic link": zip_with_modes(
        refusal.LINK, ("evil.png", 0o120777, "{outside}/secret.png")
    ),
    "zip: file through a symbolic link": zip_with_modes(
        refusal.LINK, ("dir", 0o120777, "{outside}"), ("dir/evil.png", 0o100644, "x")
    ),
    "zip: device": zip_with_modes(refusal.NOT_REGULAR, ("evil.png", 0o020666, "")),
    "zip: names that differ in case": zipped(refusal.SAME_NAME, "a/evil.png", "A/evil.png"),
    "zip: one body for 65,000 members": zip_of_one_body_for_many,
    "zip: bomb": zip_bomb,
    "zip: 1,000 members, the last leaves": zip_of_many,
    "zip: in a zip": zip_within_a_zip,
    "zip: as the dataset": a_zip_as_the_dataset,
    "zip: as a drop": a_zip_as_a_drop,
    "tar: ..": tarred(refusal.LEAVES, ("../../evil.png", FILE, "")),
    "tar: .. in an extended header": tarred(
        refusal.LEAVES, ("good.png", FILE, ""), headers={"path": "../../evil.png"}
    ),
    "tar: absolute": tarred(refusal.LEAVES, ("{outside}/evil.png", FILE, "")),
    "tar: hard link": tarred(refusal.LINK, ("evil.png", HARD, "{outside}/secret.png")),
    "tar: symbolic link": tarred(refusal.LINK, ("evil.png", LINK, "{outside}/secret.png")),
    "tar: file through a symbolic link": tarred(
        refusal.LINK, ("dir", LINK, "{outside}"), ("dir/evil.png", FILE, "")
    ),
    "tar: device": tarred(refusal.NOT_REGULAR, ("evil.png", DEVICE, "")),
    "tar: gzip bomb": tar_bomb("gz", gzip.compress),
    "tar: bzip2 bomb": tar_bomb("bz2", bz2.compress),
    "tar: xz bomb": tar_bomb("xz", lzma.compress),
}
