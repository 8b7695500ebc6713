"""When a drop counts as arrived. The clock is ours, so that no test waits."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_contracts.errors import ContractError, InputError
from data_contracts.records.sealed import unsealed_json
from resources.intake import drops
from resources.intake.drops import (
    MARKER,
    DropStatus,
    check_drops,
    drops_root,
    file_stamps,
    settle_seconds,
)
from resources.intake.site_key import Names
from resources.store.dataset_store import DatasetStore

NOW = 1_750_000_000.0
NAMES = Names("scans", True, bytes(32))


class Site:
    """A drop folder and a store, with a clock."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "drops" / "scans"
        self.root.mkdir(parents=True)
        self.store = DatasetStore(home=str(folder / "home"))
        self.ledger = self.store.folder("scans", drops.LEDGER)
        self.now = NOW

    def put(self, path: str, data: bytes = b"data") -> Path:
        """Write a file, its time being now."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (self.now, self.now))
        return file

    def look(self, after: float = 0, first_load: bool = False) -> DropStatus:
        """Let time pass, and look."""
        self.now += after
        return check_drops(self.store, "scans", NAMES, first_load, self.now)

    def settled(self) -> DropStatus:
        """Look twice, far enough apart."""
        self.look()
        return self.look(30)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("MEDFEAT_DROPS", str(tmp_path / "drops"))
    monkeypatch.delenv("MEDFEAT_DROP_SETTLE_SECONDS", raising=False)
    return Site(tmp_path)


def files(look: DropStatus) -> dict[str, set[str]]:
    """Names of the files that count, by drop."""
    return {drop.name: set(drop.files) for drop in look.drops}


def error_of(site: Site, after: float = 0) -> InputError:
    with pytest.raises(InputError) as error:
        site.look(after)
    assert "\n" not in str(error.value)
    return error.value


class TestSettling:
    def test_a_drop_counts_once_two_looks_far_enough_apart_found_the_same(self, site: Site) -> None:
        site.put("monday/A/1.png")
        site.put("monday/2.png")
        assert site.look() == DropStatus((), 1, "")
        assert site.look(29.9) == DropStatus((), 1, "")
        found = site.look(0.1)
        assert (files(found), found.waiting) == ({"monday": {"A/1.png", "2.png"}}, 0)
        assert (found.drops[0].path, found.drops[0].accepted_at) == (site.root / "monday", NOW + 30)
        assert site.look(1000) == found

    def test_it_says_what_waits_and_why(self, site: Site) -> None:
        site.put("monday/1.png")
        (waiting,) = site.look().waits
        assert str(waiting) == f"{NAMES.drop('monday')}: 1 file, no _READY, settles in 30 s"
        (waiting,) = site.look(12.5).waits
        assert waiting.reason == "no _READY, settles in 18 s"
        assert site.look(30).waits == ()
        site.put("monday/2.png.part")
        (waiting,) = site.look(60).waits
        assert waiting.reason == (
            "it changed after it had counted, a file is named as unfinished "
            "(waits up to 59 min for it)"
        )

    def test_one_look_is_not_enough_however_old_the_files_are(self, site: Site) -> None:
        os.utime(site.put("old/1.png"), (1, 1))
        assert site.look(1e6).waiting == 1

    @pytest.mark.parametrize("change", ["grow", "touch", "add", "remove", "rename"])
    def test_every_change_begins_the_wait_anew(self, change: str, site: Site) -> None:
        first, second = site.put("d/1.png"), site.put("d/2.png")
        site.look()
        site.now += 20
        if change == "grow":
            first.write_bytes(b"data and more")
            os.utime(first, (NOW, NOW))
        elif change == "touch":
            os.utime(first, (site.now, site.now))
        elif change == "add":
            site.put("d/deep/3.png")
        elif change == "remove":
            second.unlink()
        else:
            second.rename(first.with_name("3.png"))
        assert site.look(10).waiting == 1
        assert site.look(29).waiting == 1
        assert files(site.look(1)) == {"d": set(file_stamps(site.root / "d"))}

    def test_drops_settle_independently_of_each_other(self, site: Site) -> None:
        site.put("a/1.png")
        site.look()
        site.now += 20
        site.put("b/1.png")
        site.look()
        found = site.look(10)
        assert (files(found), found.waiting) == ({"a": {"1.png"}}, 1)
        assert set(files(site.look(20))) == {"a", "b"}

    def test_a_single_file_is_a_drop(self, site: Site) -> None:
        site.put("scan.zip")
        assert files(site.settled()) == {"scan.zip": {""}}

    def test_hidden_entries_empty_folders_and_manifests_beside_drops_are_none(
        self, site: Site
    ) -> None:
        (site.root / "empty" / "er").mkdir(parents=True)
        for path in (".hidden/1.png", ".one.png", "manifest.csv", MARKER, f"gone.zip.{MARKER}"):
            site.put(path)
        assert site.settled() == DropStatus((), 0, "")

    def test_the_clock_going_backwards_begins_the_wait_anew(self, site: Site) -> None:
        site.put("d/1.png")
        site.look()
        assert site.look(-1000).waiting == 1
        assert site.look(29).waiting == 1
        assert files(site.look(1)) == {"d": {"1.png"}}
        assert files(site.look(-1000)) == {"d": {"1.png"}}

    def test_the_wait_can_be_set(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MEDFEAT_DROP_SETTLE_SECONDS", "0.5")
        site.put("d/1.png")
        site.look()
        assert site.look(0.4).drops == ()
        assert len(site.look(0.1).drops) == 1

    @pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "30 s"])
    def test_a_wait_that_is_no_time_is_refused(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MEDFEAT_DROP_SETTLE_SECONDS", text)
        with pytest.raises(
            InputError, match=r"MEDFEAT_DROP_SETTLE_SECONDS is .*a number of seconds above 0"
        ):
            settle_seconds()

    def test_without_the_variable_drops_lie_in_the_home(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MEDFEAT_DROPS", raising=False)
        monkeypatch.setenv("MEDFEAT_HOME", "/a/home")
        assert drops_root() == Path("/a/home/drops")


class TestMarker:
    def test_in_a_folder_ends_the_wait_and_is_no_file_of_the_drop(self, site: Site) -> None:
        site.put("d/1.png")
        site.put("d/2.png.part")
        assert site.look().drops == ()
        site.put(f"d/{MARKER}", b"")
        assert files(site.look()) == {"d": {"1.png", "2.png.part"}}

    def test_beside_a_file_ends_its_wait_and_no_others(self, site: Site) -> None:
        site.put("a.zip")
        site.put("b.zip")
        site.put(f"a.zip.{MARKER}", b"")
        found = site.look()
        assert (files(found), found.waiting) == ({"a.zip": {""}}, 1)

    def test_deeper_in_a_drop_means_nothing(self, site: Site) -> None:
        site.put("d/1.png")
        site.put(f"d/A/{MARKER}")
        assert site.look().waiting == 1

    def test_left_behind_does_not_hurry_a_later_change(self, site: Site) -> None:
        site.put("d/1.png")
        site.put(f"d/{MARKER}")
        site.look()
        site.put("d/2.png")
        assert (files(site.look()), site.look(29).waiting) == ({"d": {"1.png"}}, 1)
        assert files(site.look(1)) == {"d": {"1.png", "2.png"}}


class TestPartialNames:
    @pytest.mark.parametrize(
        "name",
        [
            "1.png.part",
            "1.png.PARTIAL",
            "x.tmp",
            "x.filepart",
            "x.crdownload",
            ".1.png.Ab3xYz",
            "1.png~",
            "A/x.upload",
        ],
    )
    def test_hold_a_drop_back_until_they_have_not_changed_for_an_hour(
        self, name: str, site: Site
    ) -> None:
        site.put("d/0.png")
        site.put(f"d/{name}")
        site.look()
        assert site.look(3599).waiting == 1
        assert files(site.look(1)) == {"d": {"0.png", name}}

    def test_hold_a_single_file_back(self, site: Site) -> None:
        site.put("scan.zip.part")
        assert site.settled().waiting == 1
        (site.root / "scan.zip.part").rename(site.root / "scan.zip")
        assert files(site.settled()) == {"scan.zip": {""}}

    @pytest.mark.parametrize(
        "name", ["part.png", "1.part.png", "temp/1.png", ".hidden.png", "x~1.png"]
    )
    def test_others_do_not(self, name: str, site: Site) -> None:
        site.put(f"d/{name}")
        assert files(site.settled()) == {"d": {name}}


def copying(site: Site, dice: random.Random, longest: float, partial: bool) -> Iterator[float]:
    """Copies a drop piece by piece; gives the seconds until its next step, at most ``longest``.

    Under partial names it may stall for much longer, until a file is whole and takes its name.
    """
    single = dice.random() < 0.3
    names = (
        ["drop.zip"]
        if single
        else [f"drop/{'A/' * dice.randrange(3)}{n}.png" for n in range(dice.randint(1, 5))]
    )
    for name in names:
        written = f"{name}.part" if partial else name
        for piece in range(dice.randint(1, 4)):
            site.put(written, bytes(100 * (piece + 1)))
            yield dice.uniform(0, 3000 if partial else longest)
        if partial:
            (site.root / written).rename(site.root / name)
            yield dice.uniform(0, longest)
    if dice.random() < 0.3:
        last = site.put(names[-1], b"corrected")
        yield dice.uniform(0, longest)
        if not single:
            last.rename(last.with_name("renamed.png"))
            yield dice.uniform(0, longest)


def look_times(site: Site, dice: random.Random, longest: float, partial: bool) -> Iterator[bool]:
    """The moments for a look while a copy goes on and after it; tells whether it had ended."""
    between = 300 if partial else 40
    for pause in copying(site, dice, longest, partial):
        step = site.now + pause
        while (
            moment := site.now + dice.choice((dice.uniform(0, 3), dice.uniform(0, between)))
        ) < step:
            site.now = moment
            yield False
        site.now = step
    end = site.now
    while site.now < end + 300:
        site.now += dice.uniform(0, 40)
        yield True


@pytest.mark.parametrize("partial", [False, True])
def test_no_copy_that_goes_on_within_the_wait_counts_before_its_end(
    partial: bool, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    counted_early, never_counted, looks_before_the_end = [], [], 0
    for seed in range(50):
        shutil.rmtree(site.root)
        shutil.rmtree(site.ledger, ignore_errors=True)
        site.root.mkdir()
        found = DropStatus((), 0, "")
        for ended in look_times(site, random.Random(seed), 29.9, partial):
            found = site.look()
            looks_before_the_end += not ended
            if found.drops and not ended:
                counted_early.append(seed)
        if (
            files(found)
            != {name: set(file_stamps(site.root / name)) for name in os.listdir(site.root)}
            or found.waiting
        ):
            never_counted.append(seed)
    assert looks_before_the_end > 400
    assert (counted_early, never_counted) == ([], [])


def test_what_counts_is_always_what_looks_over_the_whole_wait_have_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies with pauses of any length, against the rule said in another way."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    accepted_while_going_on = 0
    for seed in range(50):
        shutil.rmtree(site.root)
        shutil.rmtree(site.ledger, ignore_errors=True)
        site.root.mkdir()
        history: list[tuple[float, dict[str, drops.Stamp]]] = []
        counts: dict[str, drops.Stamp] | None = None
        for ended in look_times(site, random.Random(seed), 90, False):
            name = os.listdir(site.root)[0]
            now = file_stamps(site.root / name)
            history.append((site.now, now))
            same_since = site.now
            for moment, listing in reversed(history):
                if listing != now:
                    break
                same_since = moment
            if site.now - same_since >= 30:
                counts = now
                accepted_while_going_on += not ended
            if counts and "" in counts and counts != now:
                assert "being written anew" in error_of(site).what
                continue
            found = site.look()
            same = (
                None
                if counts is None
                else {file for file, stamp in now.items() if counts.get(file) == stamp}
            )
            assert files(found) == ({} if same is None else {name: same})
            assert found.waiting == (counts != now)
        assert counts == now
    assert accepted_while_going_on > 20


class TestChanges:
    def test_an_accepted_drop_counts_as_it_was_until_it_has_settled_again(self, site: Site) -> None:
        for number in range(4):
            site.put(f"d/{number}.png")
        before = site.settled()
        site.now += 100
        site.put("d/1.png", b"changed")
        site.put("d/4.png")
        (site.root / "d" / "2.png").unlink()
        during = site.look()
        assert (files(during), during.waiting, during.signature) == (
            {"d": {"0.png", "3.png"}},
            1,
            before.signature,
        )
        assert site.look(29).signature == before.signature
        after = site.look(1)
        assert (files(after), after.waiting) == ({"d": {"0.png", "1.png", "3.png", "4.png"}}, 0)
        assert after.signature != before.signature
        assert after.drops[0].accepted_at == site.now

    @pytest.mark.parametrize(
        "path",
        [
            "d/manifest.csv",
            "d/manifest.parquet",
            "d/A/part.zip",
            "d/A/part.npz",
            "one.zip",
            "one.png",
        ],
    )
    def test_what_decides_about_a_drop_is_waited_for_when_it_changes(
        self, path: str, site: Site
    ) -> None:
        site.put("d/1.png")
        site.put(path)
        before = site.settled()
        site.now += 100
        site.put(path, b"another")
        site.put("other/1.png")
        error = error_of(site)
        assert "being written anew" in error.what
        assert Path(path).name not in str(error)
        assert error.remedy == "Run again when it has not changed for 30 seconds"
        error_of(site, 29)
        after = site.look(1)  # every look before was remembered, though it raised
        assert set(files(after)) == set(files(before)) | {"other"}
        assert (after.waiting, after.signature != before.signature) == (0, True)

    def test_a_manifest_taken_away_is_waited_for_as_well(self, site: Site) -> None:
        site.put("d/1.png")
        site.put("d/manifest.csv")
        site.settled()
        (site.root / "d" / "manifest.csv").unlink()
        error_of(site)
        assert files(site.look(30)) == {"d": {"1.png"}}

    def test_a_new_manifest_or_archive_does_not_count_until_it_has_settled(
        self, site: Site
    ) -> None:
        site.put("d/1.png")
        site.settled()
        site.put("d/manifest.csv")
        site.put("d/x.zip")
        assert files(site.look()) == {"d": {"1.png"}}
        assert files(site.look(30)) == {"d": {"1.png", "manifest.csv", "x.zip"}}

    def test_a_deleted_drop_counts_no_more_and_put_back_counts_at_once(self, site: Site) -> None:
        site.put("a/1.png")
        site.put("b/1.png")
        both = site.settled()
        (site.root / "a").rename(site.root.parent / "away")
        one = site.look()
        assert (set(files(one)), one.waiting, one.signature != both.signature) == ({"b"}, 0, True)
        (site.root.parent / "away").rename(site.root / "a")
        assert site.look().signature == both.signature

    def test_the_last_drop_deleted_leaves_nothing(self, site: Site) -> None:
        site.put("a/1.png")
        site.settled()
        shutil.rmtree(site.root / "a")
        assert site.look() == DropStatus((), 0, "")

    def test_a_renamed_drop_is_a_new_one(self, site: Site) -> None:
        site.put("a/1.png")
        first = site.settled()
        (site.root / "a").rename(site.root / "b")
        assert site.look().waiting == 1
        found = site.look(30)
        assert (set(files(found)), found.signature != first.signature) == ({"b"}, True)

    def test_the_drop_folder_gone_is_an_error_once_drops_have_counted(self, site: Site) -> None:
        site.root.rename(site.root.with_name("away"))
        assert site.look() == DropStatus((), 0, "")
        site.root.with_name("away").rename(site.root)
        site.put("a/1.png")
        site.settled()
        site.root.rename(site.root.with_name("away"))
        assert "is gone, and drops in it have counted before" in error_of(site).what
        site.root.mkdir()
        assert site.look() == DropStatus((), 0, "")

    def test_files_that_go_away_during_a_look_are_left_out_of_it(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(9):
            site.put(f"d/{number}.png")
        site.put("one.zip")
        scandir = os.scandir

        class Vanishing:
            """Entries of a folder of which one is deleted after it was listed."""

            def __init__(self, path: Path) -> None:
                with scandir(path) as entries:
                    self.entries = sorted(entries, key=lambda entry: entry.name)
                (path / "4.png").unlink()

            def __enter__(self) -> Iterator[os.DirEntry[str]]:
                return iter(self.entries)

            def __exit__(self, *_: object) -> None:
                pass

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", Vanishing)
            assert set(file_stamps(site.root / "d")) == {
                f"{number}.png" for number in range(9) if number != 4
            }
        assert file_stamps(site.root / "gone") == {}

    def test_a_drop_that_cannot_be_read_says_so_and_does_not_keep_others_from_settling(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.put("a/1.png")
        site.put("b/1.png")
        scandir = os.scandir

        def deny(path: Path) -> object:
            if Path(path).name == "a":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", deny)
            error = error_of(site)
            assert error.what == "a drop of scans cannot be read (Permission denied)"
        assert set(files(site.look(30))) == {"b"}


class TestFirstLoad:
    def test_what_counts_first_is_the_first_load_and_stays_it(self, site: Site) -> None:
        site.put("a/1.png")
        site.put("b/1.png")
        site.look(first_load=True)
        site.put("c/1.png")
        site.look(30, first_load=True)
        site.put("a/2.png")
        site.look(0, first_load=True)
        found = site.look(30, first_load=True)
        assert {drop.name: drop.first_load for drop in found.drops} == {
            "a": True,
            "b": True,
            "c": False,
        }
        assert files(found)["a"] == {"1.png", "2.png"}

    def test_where_the_dataset_has_a_folder_of_its_own_there_is_none(self, site: Site) -> None:
        site.put("a/1.png")
        assert [drop.first_load for drop in site.settled().drops] == [False]


class TestLedger:
    def test_holds_no_names(self, site: Site) -> None:
        for path in (
            "Doe^John/Doe^John.png",
            "Doe^John/Doe^Mary/1.png",
            "Doe^John.zip",
            os.fsdecode(b"Doe\xe9/1.png"),
        ):
            site.put(path)
        assert len(site.settled().drops) == 3
        stored = [file for file in site.ledger.rglob("*") if file.is_file()]
        assert len(stored) >= 4
        for file in stored:
            assert "doe" not in file.name.lower()
            assert b"doe" not in file.read_bytes().lower()

    def test_is_not_written_again_where_nothing_changed(self, site: Site) -> None:
        site.put("a/1.png")
        site.settled()
        before = {file: file.stat().st_mtime_ns for file in site.ledger.glob("*.json")}
        site.look(100)
        assert {file: file.stat().st_mtime_ns for file in site.ledger.glob("*.json")} == before
        assert len(before) == 2

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"drops": {"x": {}}}', '{"drops": {}, "more": 1}']
    )
    def test_damaged_is_a_contract_error_with_the_way_out(self, text: str, site: Site) -> None:
        site.put("a/1.png")
        site.settled()
        (site.ledger / "ledger.json").write_text(text)
        with pytest.raises(
            ContractError,
            match=r"is not a valid ledger of drops.*Delete it: every drop then counts again",
        ):
            site.look()
        (site.ledger / "ledger.json").unlink()
        assert files(site.settled()) == {"a": {"1.png"}}

    def test_a_lost_listing_lets_nothing_count_that_may_have_changed(self, site: Site) -> None:
        site.put("a/1.png")
        site.settled()
        (listing,) = site.ledger.glob("*.listing.json")
        assert len(unsealed_json(listing.read_bytes())) == 1
        listing.unlink()
        site.put("a/2.png")
        assert files(site.look()) == {"a": set()}
        assert files(site.look(30)) == {"a": {"1.png", "2.png"}}

    def test_other_datasets_have_their_own(self, site: Site) -> None:
        site.put("a/1.png")
        site.settled()
        assert check_drops(site.store, "others", NAMES, now=site.now) == DropStatus((), 0, "")


def test_a_link_is_stamped_itself_and_not_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1.png").write_bytes(b"data")
    (site.root / "link").symlink_to(tmp_path / "outside")
    site.put("d/1.png")
    (site.root / "d" / "link").symlink_to(tmp_path / "outside")
    assert set(file_stamps(site.root / "link")) == {""}
    assert set(file_stamps(site.root / "d")) == {"1.png", "link"}
