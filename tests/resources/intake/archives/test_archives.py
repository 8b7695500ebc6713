"""Unpacking zip and tar files that a user hands over, and refusing those that are damaged or
hostile."""

import bz2
import errno
import gzip
import io
import lzma
import os
import random
import re
import shutil
import struct
import tarfile
import time
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.intake.archives import (
    ARCHIVE_SUFFIXES,
    ArchiveLimits,
    RefusedArchiveError,
    is_archive,
    refusal,
    unpack,
)
from resources.intake.archives.reading import BLOCK
from resources.intake.archives.unpacking import DEFAULT_LIMITS

NOISE = random.Random(7).randbytes(300_000)
FILES = {
    "A/one.png": NOISE[:5000],
    "A/two.png": NOISE[5000:5512],
    "B/deep/er/three.bin": NOISE,
    "B/empty": b"",
    "__MACOSX/._one.png": b"\0\5\x16\7",
    "B/größe ✓.txt": b"text\n" * 9000,
}
PACKERS = {
    ".tar": "w:",
    ".tar.gz": "w:gz",
    ".tgz": "w:gz",
    ".tar.bz2": "w:bz2",
    ".tbz2": "w:bz2",
    ".tar.xz": "w:xz",
    ".txz": "w:xz",
}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(
    path: Path, files: dict[str, bytes], mode: str = "w:gz", form: int = tarfile.PAX_FORMAT
) -> Path:
    with tarfile.open(path, mode, format=form) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def make_odd_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def tar_member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member


def zip_entry(name: str, mode: int, data: bytes = b"") -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info, data


def make_odd_zip(path: Path, *entries: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for info, data in entries:
            archive.writestr(info, data)
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


def edited(path: Path, edit: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(edit(path.read_bytes()))
    return path


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refused(archive: Path, reason: str, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    """Refused for this reason, word for word, and the folder is as it was."""
    before = everything(archive.parent) - {archive.parent / "out"}
    with pytest.raises(RefusedArchiveError) as caught:
        unpack(archive, archive.parent / "out" / "target", limits)
    assert str(caught.value) == reason
    assert everything(archive.parent) - {archive.parent / "out"} == before
    assert not list((archive.parent / "out").iterdir())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of its own, with room around it for what would escape."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    return folder


def test_suffixes_in_any_case():
    assert all(
        is_archive(Path(f"x{suffix}")) and is_archive(Path(f"X.Y{suffix.upper()}"))
        for suffix in ARCHIVE_SUFFIXES
    )
    assert not any(
        is_archive(Path(name)) for name in ("x.gz", "x.png", "zip", "x.zip.png", "x.7z", "x.npz")
    )


# ---- what is whole comes out as it went in


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_zip_file_comes_out_byte_for_byte(here, method):
    unpack(make_zip(here / "x.ZIP", FILES, method), here / "new" / "target")
    assert contents(here / "new" / "target") == FILES
    assert os.listdir(here / "new") == ["target"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("suffix", PACKERS)
def test_a_tar_file_comes_out_byte_for_byte(here, suffix, form):
    files = FILES | (
        {} if form == tarfile.USTAR_FORMAT else {f"{'long' * 30}/{'ü' * 100}": b"x" * 512}
    )
    unpack(make_tar(here / f"x{suffix}", files, PACKERS[suffix], form), here / "target")
    assert contents(here / "target") == files


def test_files_carry_no_time_and_no_mode_of_the_archive(here):
    member = tar_member("run.sh")
    member.mode, member.mtime = 0o4777, 1_700_000_000
    os_mask = os.umask(0o022)
    try:
        unpack(make_odd_tar(here / "x.tar", member), here / "target")
    finally:
        os.umask(os_mask)
    facts = (here / "target" / "run.sh").stat()
    assert (facts.st_mode & 0o7777, facts.st_mtime_ns) == (0o644, 0)


def test_folders_are_made_even_when_they_are_empty_or_listed_twice(here):
    unpack(
        make_odd_tar(
            here / "x.tar", *(tar_member(name, tarfile.DIRTYPE) for name in ("./", "A", "A/B", "A"))
        ),
        here / "t",
    )
    assert sorted(str(path.relative_to(here / "t")) for path in (here / "t").rglob("*")) == [
        "A",
        "A/B",
    ]
    unpack(make_zip(here / "x.zip", {"A/": b"", "A/B/": b"", "./A/c": b"1"}), here / "u")
    assert sorted(str(path.relative_to(here / "u")) for path in (here / "u").rglob("*")) == [
        "A",
        "A/B",
        "A/c",
    ]


def test_a_tar_file_that_a_browser_unpacked_without_renaming(here):
    unpack(make_tar(here / "x.tar.gz", FILES, "w:"), here / "target")
    assert contents(here / "target") == FILES


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
def test_compressed_streams_one_after_the_other(here, suffix):
    pieces = make_tar(here / "x.tar", FILES, "w:").read_bytes()
    pack = {".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}[suffix]
    (here / f"y{suffix}").write_bytes(pack(pieces[:70_000]) + pack(pieces[70_000:]))
    unpack(here / f"y{suffix}", here / "target")
    assert contents(here / "target") == FILES


def test_a_zip_file_behind_other_bytes_and_one_with_data_descriptors(here):
    unpack(
        edited(make_zip(here / "x.zip", FILES), lambda data: b"#!/bin/sh\n" * 50 + data),
        here / "target",
    )
    assert contents(here / "target") == FILES

    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with (
        (here / "y.zip").open("wb") as file,
        zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, data in FILES.items():
            archive.writestr(name, data)
    unpack(here / "y.zip", here / "other")
    assert contents(here / "other") == FILES


def test_utf8_names_without_the_flag_as_macos_writes_them(here):
    raw = make_zip(here / "x.zip", {"\u00fc.png": b"1"}).read_bytes()
    flags = [(raw.find(b"PK\3\4") + 6), (raw.find(b"PK\1\2") + 8)]
    changed = bytearray(raw)
    for place in flags:
        changed[place : place + 2] = b"\0\0"
    (here / "x.zip").write_bytes(changed)
    unpack(here / "x.zip", here / "target")
    assert contents(here / "target") == {"\u00fc.png": b"1"}


def test_lzma_in_a_zip_without_an_end_mark(here):
    """As 7-Zip writes it: the flag is off, and the decoder never says that it is at the end."""
    raw = bytearray(make_zip(here / "x.zip", {"a": NOISE[:5000]}, zipfile.ZIP_LZMA).read_bytes())
    central = raw.rfind(b"PK\1\2")
    assert raw[6] & raw[central + 8] & 2
    raw[6] ^= 2
    raw[central + 8] ^= 2
    packed = struct.unpack("<L", raw[central + 20 : central + 24])[0]
    raw[18:22] = raw[central + 20 : central + 24] = struct.pack("<L", packed - 4)  # within the mark
    (here / "x.zip").write_bytes(raw)
    unpack(here / "x.zip", here / "target")
    assert contents(here / "target") == {"a": NOISE[:5000]}


def test_ten_thousand_small_files_take_seconds(here):
    files = {
        f"class{number % 7}/{number:05d}.bin": number.to_bytes(4, "big") * 30
        for number in range(10_000)
    }
    for archive in (make_zip(here / "x.zip", files), make_tar(here / "x.tar", files, "w:")):
        start = time.process_time()
        unpack(archive, here / archive.suffix)
        assert time.process_time() - start < 10
        assert len(contents(here / archive.suffix)) == 10_000


# ---- names


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../evil", refusal.LEAVES),
        ("a/../../evil", refusal.LEAVES),
        ("a/..", refusal.LEAVES),
        ("..", refusal.LEAVES),
        ("/etc/evil", refusal.LEAVES),
        ("//evil", refusal.LEAVES),
        ("c:evil", refusal.BACKSLASH),
        ("/".join("d" * 32) + "/x", refusal.TOO_DEEP),
        ("x" * 256, refusal.LONG_NAME),
        ("/".join(["x" * 200] * 6), refusal.LONG_NAME),
        (".", refusal.NO_NAME),
    ],
)
def test_bad_names(here, name, reason):
    refused(make_zip(here / "x.zip", {"good": b"1", name: b"2"}), reason)
    for mode in ("w:", "w:xz"):
        refused(make_tar(here / "x.tar", {"good": b"1", name: b"2"}, mode), reason)


def test_empty_names_and_zero_bytes_in_names(here):
    for name, reason in (("", refusal.NO_NAME), ("a\0b", refusal.NUL_NAME)):
        path = here / "x.zip"
        make_zip(path, {"#" * 3: b"1"} if name else {"#": b"1"})
        if name:
            edited(path, lambda data, name=name: data.replace(b"###", name.encode()))
        else:  # a length of 0 in both headers
            edited(path, lambda data: drop_name(data))
        refused(path, reason)
    refused(make_odd_tar(here / "x.tar", tar_member("")), refusal.NO_NAME)


def drop_name(data: bytes) -> bytes:
    """The zip file of one member with a name of one byte, with no name."""
    local = data.find(b"#")
    data = data[:local] + data[local + 1 :]
    data = data[:26] + b"\0\0" + data[28:]
    central = data.find(b"PK\1\2")
    place = data.find(b"#", central)
    data = data[:place] + data[place + 1 :]
    data = data[: central + 28] + b"\0\0" + data[central + 30 :]
    end = data.find(b"PK\5\6")
    return data[: end + 12] + struct.pack("<LL", end - central, central) + data[end + 20 :]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..\\evil", refusal.LEAVES),
        ("a\\..\\..\\evil", refusal.LEAVES),
        ("C:\\evil", refusal.BACKSLASH),
        ("\\\\host\\evil", refusal.LEAVES),
        ("\\evil", refusal.LEAVES),
    ],
)
def test_bad_names_with_backslashes(here, name, reason):
    refused(make_zip(here / "x.zip", {"good": b"1", name: b"2"}), reason)
    for mode in ("w:", "w:xz"):
        refused(make_tar(here / "x.tar", {"good": b"1", name: b"2"}, mode), refusal.BACKSLASH)


def stored_as(path: Path, names: dict[str, bytes]) -> Path:
    """A zip file whose members have names of these bytes; their keys are plain text of the same
    length, which is replaced."""
    data = make_zip(path, {name: name.encode() for name in names}).read_bytes()
    for name, raw in names.items():
        assert len(name) == len(raw)
        # in the headers alone: the content stays the plain text
        for magic, offset in ((b"PK\3\4", 30), (b"PK\1\2", 46)):
            place = next(
                found.start()
                for found in re.finditer(re.escape(magic), data)
                if data[found.start() + offset :].startswith(name.encode())
            )
            data = data[: place + offset] + raw + data[place + offset + len(raw) :]
    path.write_bytes(data)
    return path


def unpacked_names(archive: Path) -> dict[str, str]:
    """Path and content of all that an archive unpacks to."""
    target = archive.with_suffix(".unpacked")
    unpack(archive, target)
    return {
        str(file.relative_to(target)): file.read_text()
        for file in target.rglob("*")
        if file.is_file()
    }


def test_backslashes_are_folders(here):
    members = {"A\\": b"", "A\\1.png": b"1", "A\\deep\\2.png": b"2", "B/3.png": b"3"}
    assert unpacked_names(make_zip(here / "x.zip", members)) == {
        "A/1.png": "1",
        "A/deep/2.png": "2",
        "B/3.png": "3",
    }


@pytest.mark.parametrize(("one", "other"), [("a\\x", "a/x"), ("a\\X", "a/x"), ("a\\b", "a\\b\\c")])
def test_backslashes_lose_no_file(here, one, other):
    with pytest.raises(RefusedArchiveError):
        unpack(make_zip(here / "x.zip", {one: b"1", other: b"2"}), here / "out")
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("code_page", "text", "read"),
    [
        ("cp437", "Größe/é.png", "Größe/é.png"),
        ("cp850", "Größe/é.png", "Größe/é.png"),
        ("cp932", "肺/1.png", "öx/1.png"),
        ("gbk", "肺炎/1.png", "╖╬╤╫/1.png"),
        ("cp932", "表/ソ.png", "表/ソ.png"),  # the second byte of both is a backslash in cp437
        ("gbk", "俓/1.png", None),
        ("utf-8", "肺/1.png", "肺/1.png"),
    ],
)
def test_names_in_a_code_page_stay_apart(here, code_page, text, read):
    raw, other = text.encode(code_page), "b/1.png".encode(code_page)
    plain = "".join("x" if byte != ord("/") else "/" for byte in raw)
    found = unpacked_names(stored_as(here / "x.zip", {plain: raw, "b/1.png": other}))
    assert sorted(found.values()) == sorted([plain, "b/1.png"])
    (name,) = [path for path, content in found.items() if content == plain]
    assert read is None or name == read


def test_two_names_of_a_code_page_are_two_files(here):
    names = {"a/xx.png": "a/é1.png".encode("cp850"), "a/yy.png": "a/è1.png".encode("cp850")}
    assert len(unpacked_names(stored_as(here / "x.zip", names))) == 2


def test_backslashes_beside_letters_of_a_code_page_are_folders(here):
    names = {"caf_x1.png": "café\\1.png".encode("cp437"), "b_1.png": b"b\\1.png"}
    assert set(unpacked_names(stored_as(here / "x.zip", names))) == {"café/1.png", "b/1.png"}


@pytest.mark.parametrize("fits", [True, False])
def test_a_unicode_path_field_names_the_member(here, fits):
    raw = "é.png".encode("cp850")
    checksum = zlib.crc32(raw) + (not fits)
    name = "肺.png".encode()
    field = struct.pack("<2HBL", 0x7075, 5 + len(name), 1, checksum) + name
    with zipfile.ZipFile(here / "y.zip", "w") as archive:
        member = zipfile.ZipInfo("x.png")
        member.extra = struct.pack("<2H", 0x9999, 2) + b"ab" + field
        archive.writestr(member, "1")
    data = (here / "y.zip").read_bytes().replace(b"x.png", raw)
    (here / "y.zip").write_bytes(data)
    assert list(unpacked_names(here / "y.zip")) == ["肺.png" if fits else "é.png"]


def test_names_that_are_not_utf8(here):
    refused(
        edited(
            make_zip(here / "x.zip", {"aé": b"1"}),
            lambda data: data.replace("é".encode(), b"\xff\xfe"),
        ),
        refusal.DAMAGED,
    )
    with tarfile.open(
        here / "x.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT
    ) as archive:
        archive.addfile(tar_member("gr\xfcn"))
    refused(here / "x.tar", refusal.NOT_UTF8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/x", "a/x"),
        ("a/x", "./a//x"),
        ("a/x", "a/X"),
        ("a/x", "A/y"),
        ("stra\u00dfe", "STRASSE"),
        (unicodedata.normalize("NFC", "\u00fc"), unicodedata.normalize("NFD", "\u00fc")),
        (unicodedata.normalize("NFC", "\u00dc"), unicodedata.normalize("NFD", "\u00fc")),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_a_file_system_could_take_for_one(here, one, other):
    with zipfile.ZipFile(here / "x.zip", "w") as archive:
        archive.writestr(one, b"1")
        archive.writestr(other, b"2")
    refused(here / "x.zip", refusal.SAME_NAME)
    refused(make_odd_tar(here / "x.tar", tar_member(one), tar_member(other)), refusal.SAME_NAME)


def test_a_file_where_a_folder_is_needed(here):
    for names in (["a", "a/b"], ["a/b", "a"]):
        refused(make_zip(here / "x.zip", dict.fromkeys(names, b"1")), refusal.FILE_AND_FOLDER)
        refused(make_tar(here / "x.tar", dict.fromkeys(names, b"1"), "w:"), refusal.FILE_AND_FOLDER)


# ---- kinds


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, refusal.LINK),
        (tarfile.LNKTYPE, refusal.LINK),
        (tarfile.CHRTYPE, refusal.NOT_REGULAR),
        (tarfile.BLKTYPE, refusal.NOT_REGULAR),
        (tarfile.FIFOTYPE, refusal.NOT_REGULAR),
        (b"V", refusal.NOT_REGULAR),
    ],
)
def test_links_and_devices_in_a_tar_file(here, kind, reason):
    refused(
        make_odd_tar(here / "x.tar", tar_member("good"), tar_member("bad", kind, "good")), reason
    )


def test_writing_through_a_link_made_before(here):
    """The link is refused before the file that would go through it."""
    outside = here.parent / "outside"
    outside.mkdir()
    refused(
        make_odd_tar(
            here / "x.tar", tar_member("a", tarfile.SYMTYPE, str(outside)), tar_member("a/evil")
        ),
        refusal.LINK,
    )
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"},
    ],
)
def test_sparse_members(here, headers):
    member = tar_member("holes", size=512)
    member.pax_headers = headers
    with tarfile.open(here / "x.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member, io.BytesIO(b"1\n0\n9\n".ljust(512, b"\0")))
    refused(here / "x.tar", refusal.SPARSE)
    refused(
        make_odd_tar(here / "x.tar", tar_member("holes", tarfile.GNUTYPE_SPARSE)), refusal.SPARSE
    )


def test_links_and_devices_in_a_zip_file(here):
    refused(
        make_odd_zip(
            here / "x.zip", zip_entry("good", 0o100644), zip_entry("bad", 0o120777, b"good")
        ),
        refusal.LINK,
    )
    for mode in (0o020644, 0o060644, 0o010644, 0o140644):
        refused(make_odd_zip(here / "x.zip", zip_entry("bad", mode)), refusal.NOT_REGULAR)
    info = zipfile.ZipInfo("junction")
    info.create_system, info.external_attr = 0, 0x400
    refused(make_odd_zip(here / "x.zip", (info, b"target")), refusal.LINK)


def test_an_encrypted_zip_file(here):
    for place in (6, None):  # in the local header alone, and in both
        data = bytearray(make_zip(here / "x.zip", {"a": b"1"}).read_bytes())
        data[6] |= 1
        if place is None:
            data[data.find(b"PK\1\2") + 8] |= 1
        (here / "x.zip").write_bytes(data)
        refused(here / "x.zip", refusal.ENCRYPTED)


def test_an_unknown_method_of_packing(here):
    data = bytearray(make_zip(here / "x.zip", {"a": b"1"}).read_bytes())
    data[8] = data[data.find(b"PK\1\2") + 10] = 93  # zstandard
    (here / "x.zip").write_bytes(data)
    refused(here / "x.zip", refusal.METHOD)


# ---- bombs and limits


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_in_a_zip_file(here, method):
    refused(
        make_zip(here / "x.zip", {"good": b"1", "zeros": bytes(8 * 2**20)}, method),
        "it is packed more than 200 times (a bomb?)",
    )


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_bomb_in_a_tar_file(here, mode):
    refused(
        make_tar(here / "x.tar", {"zeros": bytes(8 * 2**20)}, mode),
        "it is packed more than 200 times (a bomb?)",
    )


def test_one_black_mask_is_no_bomb(here):
    files = {"mask.bmp": bytes(900_000)}
    unpack(make_zip(here / "x.zip", files), here / "target")
    assert contents(here / "target") == files


def test_memory_stays_small_while_a_bomb_expands(here, monkeypatch):
    """No decoder hands over more than a block at once, however much its input expands to."""
    seen = []
    plain = os.write
    monkeypatch.setattr(
        os,
        "write",
        lambda descriptor, block: (seen.append(len(block)), plain(descriptor, block))[1],
    )
    loose = ArchiveLimits(ratio=1e9)
    zeros = {"zeros": bytes(32 * 2**20)}
    for number, method in enumerate((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)):
        unpack(make_zip(here / "x.zip", zeros, method), here / f"zip{number}", loose)
    for mode in ("w:gz", "w:bz2", "w:xz"):
        unpack(make_tar(here / "x.tar", zeros, mode), here / mode, loose)
    assert sum(seen) == 6 * 32 * 2**20
    assert max(seen) <= BLOCK


def test_a_dictionary_of_gigabytes(here):
    """The declared size of an LZMA dictionary, which is memory of the reader, is bounded."""
    raw = bytearray(make_zip(here / "x.zip", {"a": NOISE[:5000]}, zipfile.ZIP_LZMA).read_bytes())
    start = 30 + len("a")
    assert raw[start + 2 : start + 4] == b"\5\0"  # the length of what follows
    raw[start + 5 : start + 9] = struct.pack("<L", 2**31)
    (here / "x.zip").write_bytes(raw)
    refused(here / "x.zip", refusal.DAMAGED)
    raw = bytearray(make_tar(here / "x.tar.xz", {"a": NOISE[:5000]}, "w:xz").read_bytes())
    header = raw[12 : 12 + (raw[12] + 1) * 4 - 4]  # of the block, without its checksum
    place = header.index(b"\x21\x01") + 2  # LZMA2, whose properties have one byte
    for size, accepted in ((22, True), (38, False)):  # 8 MiB and 2 GiB
        header[place] = size
        raw[12 : 16 + len(header)] = header + struct.pack("<L", zlib.crc32(header))
        (here / "x.tar.xz").write_bytes(raw)
        if accepted:
            unpack(here / "x.tar.xz", here / "target")
        else:
            refused(here / "x.tar.xz", refusal.DAMAGED)


def test_the_limits(here):
    files = {f"{number}": NOISE[: 2**16] for number in range(4)}
    for archive in (make_zip(here / "x.zip", files), make_tar(here / "x.tar", files, "w:gz")):
        refused(archive, refusal.TOO_MANY, ArchiveLimits(members=3))
        refused(
            archive, "it unpacks to more than 0.000183105 GiB", ArchiveLimits(total_bytes=3 * 2**16)
        )
        refused(
            archive, "a member is larger than 3.05176e-05 GiB", ArchiveLimits(member_bytes=2**15)
        )
        unpack(
            archive,
            here / f"ok{archive.suffix}",
            ArchiveLimits(members=4, total_bytes=4 * 2**16, member_bytes=2**16, ratio=1.1),
        )
    refused(make_zip(here / "x.zip", {"a/b/c": b""}), refusal.TOO_DEEP, ArchiveLimits(depth=2))
    refused(make_zip(here / "x.zip", {"abcd": b""}), refusal.LONG_NAME, ArchiveLimits(name_bytes=3))


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("size", [0, 1, 99_999, 100_001])
def test_a_declared_size_that_lies(here, method, size):
    """The checksum is right for what the size says, so that only the size gives it away."""
    data = NOISE[:100_000]
    raw = bytearray(make_zip(here / "x.zip", {"a": data}, method).read_bytes())
    central = raw.rfind(b"PK\1\2")
    checksum = zlib.crc32(data[:size])
    raw[central + 16 : central + 20] = struct.pack("<L", checksum)
    raw[central + 24 : central + 28] = struct.pack("<L", size)
    (here / "x.zip").write_bytes(raw)
    # its end is where the size says, as in zipfile
    if method == zipfile.ZIP_LZMA and size < len(data):
        unpack(here / "x.zip", here / "target")
        assert contents(here / "target") == {"a": data[:size]}
    else:
        refused(here / "x.zip", refusal.DAMAGED)


def test_a_member_that_lies_about_its_size_to_pass_the_limit(here):
    raw = bytearray(make_zip(here / "x.zip", {"a": NOISE}).read_bytes())
    central = raw.rfind(b"PK\1\2")
    raw[central + 24 : central + 28] = struct.pack("<L", 10)
    (here / "x.zip").write_bytes(raw)
    refused(here / "x.zip", refusal.DAMAGED, ArchiveLimits(member_bytes=1000))


def overlapping(one_kernel: bool) -> bytes:
    """Two members of a zip file on the same bytes: with the same local header, or the second header
    inside the first's data."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("b", b"kernel")
    local = inner.getvalue()[: inner.getvalue().find(b"PK\1\2")]
    first = zipfile.ZipInfo("a")
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(first, local)
        second = zipfile.ZipInfo("a" if one_kernel else "b")
        second.header_offset = 0 if one_kernel else 31
        second.CRC = zlib.crc32(local if one_kernel else b"kernel")
        second.file_size = second.compress_size = len(local) if one_kernel else 6
        archive.filelist.append(second)
    return outer.getvalue()


def test_a_list_of_too_many_members_is_refused_before_it_is_parsed(here, monkeypatch):
    """An entry of 46 bytes takes 600 once it is parsed, and the number in the end record lies."""
    entry = b"PK\1\2" + bytes(42)
    listed = entry * 50_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(listed), 0, 0)
    (here / "x.zip").write_bytes(listed + end)
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    refused(here / "x.zip", refusal.TOO_MANY, ArchiveLimits(members=49_999))


@pytest.mark.parametrize("place", [2**63 - 1, 2**63, 2**64 - 1])
def test_a_place_in_zip64_that_lies(here, place):
    """A 64-bit offset of a member's header lies beyond the end, or beyond any file."""
    raw = make_zip(here / "x.zip", {"a": b"1"}, zipfile.ZIP_STORED).read_bytes()
    central, end = raw.rfind(b"PK\1\2"), raw.rfind(b"PK\5\6")
    extra = struct.pack("<HHQ", 1, 8, place)
    entry = bytearray(raw[central:end])
    entry[30:32], entry[42:46] = struct.pack("<H", len(extra)), b"\xff" * 4
    entry += extra
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), central, 0)
    (here / "x.zip").write_bytes(raw[:central] + entry + tail)
    refused(here / "x.zip", refusal.DAMAGED)


@pytest.mark.parametrize("one_kernel", [True, False])
def test_members_that_overlap(here, one_kernel):
    (here / "x.zip").write_bytes(overlapping(one_kernel))
    refused(here / "x.zip", refusal.OVERLAP)


def test_a_member_whose_bytes_reach_into_the_list_of_members(here):
    raw = bytearray(make_zip(here / "x.zip", {"a": b"1"}, zipfile.ZIP_STORED).read_bytes())
    central = raw.rfind(b"PK\1\2")
    raw[central + 20 : central + 28] = struct.pack("<LL", 20, 20)
    (here / "x.zip").write_bytes(raw)
    refused(here / "x.zip", refusal.OVERLAP)


# ---- damage


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_an_archive_cut_off_anywhere(here, name):
    whole = pack(here / name).read_bytes()
    places = {
        0,
        1,
        2,
        6,
        10,
        21,
        511,
        512,
        513,
        1024,
        5632,
        6144,
        len(whole) // 2,
        len(whole) - 9000,
        len(whole) - 1,
    }
    for place in sorted(place for place in places if place < len(whole)):
        if name == "x.tar" and set(whole[place:]) <= {0} and place > 310_000:
            continue  # only padding is missing
        (here / name).write_bytes(whole[:place])
        refused(here / name, refusal.DAMAGED)


def pack(path: Path) -> Path:
    return (
        make_zip(path, FILES)
        if path.suffix == ".zip"
        else make_tar(path, FILES, PACKERS["".join(path.suffixes)])
    )


def test_a_tar_file_cut_off_between_two_members(here):
    """tarfile itself takes this for the end."""
    make_tar(here / "x.tar", {"a": b"1", "b": b"2"}, "w:", tarfile.USTAR_FORMAT)
    edited(here / "x.tar", lambda data: data[:1024])
    with tarfile.open(here / "x.tar") as archive:
        assert archive.getnames() == ["a"]
    refused(here / "x.tar", refusal.DAMAGED)


@pytest.mark.parametrize("place", [0, 8, 30])
def test_two_headers_of_a_member_that_differ(here, place):
    """Signature, method and name of the local header: what one program checks, another unpacks."""
    raw = bytearray(make_zip(here / "x.zip", {"a": b"1"}, zipfile.ZIP_STORED).read_bytes())
    raw[place] ^= 8
    (here / "x.zip").write_bytes(raw)
    refused(here / "x.zip", refusal.DAMAGED)


def test_garbage_between_and_behind_members(here):
    make_tar(here / "x.tar", {"a": b"1", "b": b"2"}, "w:", tarfile.USTAR_FORMAT)
    refused(
        edited(here / "x.tar", lambda data: data[:1024] + NOISE[:512] + data[1536:]),
        refusal.DAMAGED,
    )
    for suffix, mode in (
        ("tar", "w:"),
        ("tar.gz", "w:gz"),
        ("tar.bz2", "w:bz2"),
        ("tar.xz", "w:xz"),
    ):
        refused(
            edited(make_tar(here / f"x.{suffix}", FILES, mode), lambda data: data + NOISE[:700]),
            refusal.DAMAGED,
        )


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_a_wrong_checksum(here, name):
    make = make_zip if name == "x.zip" else make_tar
    if make is make_zip:
        make_zip(here / name, {"a": NOISE}, zipfile.ZIP_STORED)
        place = 5000
    else:
        make_tar(here / name, {"a": NOISE}, PACKERS["." + name.split(".", 1)[1]])
        place = -6 if name.endswith("gz") else 150_000
    raw = bytearray((here / name).read_bytes())
    raw[place] ^= 0x10
    (here / name).write_bytes(raw)
    refused(here / name, refusal.DAMAGED)


def test_headers_meant_to_wear_out_the_parser(here):
    endless = tarfile.TarInfo("x")
    endless.type, endless.size = tarfile.XHDTYPE, 2**33
    (here / "x.tar").write_bytes(endless.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    refused(here / "x.tar", refusal.DAMAGED)  # a header of 8 GiB
    nested = tar_member("x", tarfile.XHDTYPE, size=512).tobuf() + b"11 path=ab\n".ljust(512, b"\0")
    (here / "x.tar").write_bytes(nested * 5000 + tar_member("a").tobuf() + bytes(1024))
    refused(here / "x.tar", refusal.DAMAGED)  # headers of headers
    backwards = bytearray(tar_member("a").tobuf())
    backwards[124:136] = b"\xff" * 10 + b"\xfc\x00"
    backwards[148:156] = b" " * 8
    backwards[148:156] = f"{sum(backwards):06o}\0 ".encode()
    (here / "x.tar").write_bytes(bytes(backwards) + bytes(2048))
    # a negative size: the next header lies before this one
    refused(here / "x.tar", refusal.DAMAGED)
    digits = tar_member("x", tarfile.XHDTYPE, size=50_000).tobuf() + b"1" * 50_176
    (here / "x.tar").write_bytes(digits + tar_member("a").tobuf() + bytes(1024))
    start = time.process_time()
    refused(here / "x.tar", refusal.DAMAGED)  # quadratic in tarfile
    assert time.process_time() - start < 2


def test_an_empty_archive(here):
    refused(make_zip(here / "x.zip", {}), refusal.EMPTY)
    refused(make_tar(here / "x.tar", {}, "w:"), refusal.EMPTY)
    refused(make_tar(here / "x.tgz", {}), refusal.EMPTY)


@pytest.mark.parametrize(
    "name", ["x.zip", "y.zip", "z.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"]
)
def test_flipped_bytes_are_refused_or_harmless(here, name):
    """Whatever the damage, nothing but a refusal comes out of it, and nothing lies outside the
    target."""
    small = {name: data[:3000] for name, data in FILES.items()}
    method = {"x.zip": zipfile.ZIP_DEFLATED, "y.zip": zipfile.ZIP_BZIP2, "z.zip": zipfile.ZIP_LZMA}
    path = here / name
    whole = (
        make_zip(path, small, method[name])
        if name in method
        else make_tar(path, small, PACKERS["." + name.split(".", 1)[1]])
    ).read_bytes()
    dice = random.Random(f"flips of {name}")
    outcomes = set()
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 5, 40))):
            raw[dice.randrange(len(raw))] = dice.randrange(256)
        if dice.random() < 0.2:
            del raw[dice.randrange(len(raw)) :]
        path.write_bytes(raw)
        before = everything(here.parent.parent)
        try:
            unpack(path, here / "target")
        except RefusedArchiveError as error:
            outcomes.add(str(error))
            assert everything(here.parent.parent) == before
        else:
            inside = everything(here / "target") | {here / "target"}
            assert everything(here.parent.parent) - inside == before
            assert not any(path.is_symlink() for path in inside)
            shutil.rmtree(here / "target")
    assert refusal.DAMAGED in outcomes


# ---- the user's disk


def test_what_is_wrong_on_the_users_side_comes_with_a_remedy(here):
    good = make_zip(here / "x.zip", FILES)
    (here / "target").mkdir()
    with pytest.raises(InputError, match=r"target exists already\. Remove it"):
        unpack(good, here / "target")
    with pytest.raises(InputError, match=r"gone\.zip cannot be read \(No such file or directory\)"):
        unpack(here / "gone.zip", here / "new")
    with pytest.raises(InputError, match="is not a file"):
        unpack(here / "target", here / "new")
    os.mkfifo(here / "pipe.zip")
    with pytest.raises(InputError, match="is not a file"):
        unpack(here / "pipe.zip", here / "new")
    with pytest.raises(InputError, match=r"cannot be written"):
        unpack(good, good / "below")
    assert not (here / "new").exists()


def test_a_link_to_nowhere_counts_as_there(here):
    (here / "target").symlink_to(here / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        unpack(make_zip(here / "x.zip", FILES), here / "target")
    assert not (here / "nowhere").exists()


@pytest.mark.parametrize(
    ("number", "what"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written")]
)
@pytest.mark.parametrize("name", ["x.zip", "x.tar.bz2"])
def test_a_full_disk(here, monkeypatch, name, number, what):
    archive = pack(here / name)
    before = everything(here)

    def write(descriptor, data):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(InputError, match=what):
            unpack(archive, here / "target")
    assert everything(here) == before


def test_a_disk_that_fails_while_the_archive_is_read(here, monkeypatch):
    archive = pack(here / "x.zip")
    before = everything(here)

    def read(descriptor, size):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read)
        with pytest.raises(InputError, match=r"x\.zip cannot be read"):
            unpack(archive, here / "target")
    assert everything(here) == before


def test_an_interrupt_leaves_nothing_behind(here, monkeypatch):
    archive = pack(here / "x.zip")
    before = everything(here)

    def write(descriptor, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, here / "target")
    assert everything(here) == before
