"""Indexing on a real cluster of two nodes: the same tiles, even if workers die."""

import os
import shutil
import threading
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import timm
from click.testing import CliRunner
from safetensors.torch import save_file

from geohash_rs import Archive, Scenes
from geohash_rs.errors import (
    ArchiveCorruptError,
    EngineError,
    GeoHashRSWarning,
    HasherMismatchError,
    SceneError,
    TileTableError,
)
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.verification import verify_archive
from tests.ground import mosaic, write
from tests.store.helpers import make_grid

pytest.importorskip("ray")

from geohash_rs.engines.ray import index as ray_index  # noqa: E402 - after the skip
from geohash_rs.engines.ray import index_scenes, plan  # noqa: E402
from geohash_rs.engines.ray.worker import Indexer  # noqa: E402


def contents(archive: CodeStore) -> pd.DataFrame:
    """Return every tile with its code, in an order that does not depend on ids."""
    frames = list(archive.iter_tiles())
    frame = pd.DataFrame(pd.concat([f.assign(wkb=f.geometry.to_wkb(hex=True)) for f in frames]))
    frame["code"] = [row.tobytes().hex() for row in archive.codes(frame["tile_id"].to_numpy())]
    frame = frame.drop(columns=["tile_id", "geometry"])
    return frame.sort_values(["scene", "col", "row"], ignore_index=True)


def check_same(mine: Archive, theirs: Archive) -> None:
    pd.testing.assert_frame_equal(contents(mine), contents(theirs))
    ids = np.concatenate([frame["tile_id"] for frame in mine.iter_tiles()])
    assert len(set(ids.tolist())) == len(ids) == len(theirs)
    key = {record.scene: record for record in theirs.scenes()}
    assert {record.scene: record for record in mine.scenes()} == key
    assert verify_archive(mine.path).ok
    assert not verify_archive(mine.path).orphans
    assert not (mine.path / "staging").exists()


@pytest.fixture(scope="module")
def embedded(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    archive = Archive.create(tmp_path_factory.mktemp("embedded") / "archive", hasher="lsh-16")
    archive.add(Scenes(scene_folder), tile_size=64)
    return archive


def new_archive(folder: Path, like: Archive) -> Archive:
    return Archive.create(folder / "archive", hasher=like.hasher())


def test_the_command_makes_the_same_tiles_on_a_cluster_as_in_one_process(
    embedded: Archive, ray_cluster: Any, second_node: Any, scene_folder: Path, tmp_path: Path
) -> None:
    from geohash_rs.cli import app

    hasher = tmp_path / "hasher.safetensors"
    embedded.hasher().save(hasher)
    words = ["index", str(scene_folder), "--archive", str(tmp_path / "archive"), "--engine"]
    words += ["local", "--tile-size", "64", "--hasher", str(hasher), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert '"num_tiles": 46' in result.output
    archive = Archive.open(tmp_path / "archive")
    check_same(archive, embedded)
    again = index_scenes(archive, Scenes(scene_folder), tile_size=64)
    assert (len(again.unchanged), again.num_tiles) == (8, 0)


def test_a_cluster_cuts_scenes_in_the_sizes_that_one_process_does(
    embedded: Archive, ray_cluster: Any, second_node: Any, scene_folder: Path, tmp_path: Path
) -> None:
    found = {}
    for name in ("cluster", "alone"):
        archive = Archive.create(tmp_path / name, hasher=embedded.hasher())
        given: dict[str, Any] = {"tile_size": (32, 64, 128), "resolution": 20}  # two of 10 m
        if name == "cluster":
            report = index_scenes(archive, Scenes(scene_folder), num_actors=2, **given)
        else:
            report = archive.add(Scenes(scene_folder), **given)
        found[name] = archive, report
    (mine, mine_report), (theirs, theirs_report) = found.values()
    by = ["scene", "tile_size", "col", "row"]
    frames = [contents(one).sort_values(by, ignore_index=True) for one in (mine, theirs)]
    pd.testing.assert_frame_equal(*frames)
    assert set(frames[0]["tile_size"]) > {32}
    assert mine_report.notes == theirs_report.notes != []
    assert mine.manifest.tile_sizes
    again = index_scenes(mine, Scenes(scene_folder), **given)
    assert (again.num_tiles, len(again.skipped)) == (0, len(mine_report.skipped))


def test_workers_keep_the_vectors_that_one_process_keeps(
    embedded: Archive, ray_cluster: Any, second_node: Any, scene_folder: Path, tmp_path: Path
) -> None:
    found = []
    for name in ("cluster", "alone"):
        kept: dict[str, Any] = {"hasher": embedded.hasher(), "keep_vectors": "float16"}
        archive = Archive.create(tmp_path / name, **kept)
        if name == "cluster":
            index_scenes(archive, Scenes(scene_folder), tile_size=64, num_actors=2)
        else:
            archive.add(Scenes(scene_folder), tile_size=64)
        check_same(archive, embedded)
        tiles = pd.concat(list(archive.iter_tiles()))
        order = tiles.sort_values(["scene", "col", "row"])["tile_id"].to_numpy()
        found.append(archive.vectors(order))
    assert found[0].shape == (46, embedded.hasher().backbone.num_features)
    np.testing.assert_allclose(found[0], found[1], rtol=0.01, atol=0.01)


def test_a_node_killed_while_indexing_neither_loses_nor_duplicates_tiles(
    embedded: Archive,
    ray_cluster: Any,
    second_node: Any,
    scene_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = threading.Event()
    send = ray_index._Run._send
    lost = []

    def send_and_tell(run: Any, actor: Any, work: Any) -> None:
        send(run, actor, work)
        if len(run.running) == 2:
            started.set()
        if work.tries > 1:
            lost.append(work.numbers)

    monkeypatch.setattr(ray_index._Run, "_send", send_and_tell)

    def kill() -> None:
        started.wait(150)
        ray_cluster.remove_node(second_node)

    killer = threading.Thread(target=kill)
    killer.start()
    archive = new_archive(tmp_path, embedded)
    report = index_scenes(archive, Scenes(scene_folder), tile_size=64)
    killer.join()
    assert lost, "the node was killed too late to matter"
    assert (report.num_scenes, report.num_tiles, report.skipped) == (8, 46, [])
    check_same(archive, embedded)


def test_the_folder_for_parts_leads_nowhere_else(tmp_path: Path) -> None:
    archive, outside = tmp_path / "archive", tmp_path / "outside"
    killed, other = archive / "staging" / ("a" * 32), archive / "staging" / "notes"
    for folder in (outside / "inside", killed, other):
        folder.mkdir(parents=True)
        (folder / "file").write_text("mine", encoding="utf-8")
    (archive / "staging" / ("b" * 32)).symlink_to(outside)
    (killed / "link").symlink_to(outside)
    before = {path: path.stat().st_mtime_ns for path in (outside, *outside.rglob("*"))}
    with ray_index._staging(archive) as folder:
        assert folder.parent == archive / "staging"
    assert not killed.exists(), "what a killed run left is removed"
    assert (other / "file").exists(), "nothing else is"
    assert {path: path.stat().st_mtime_ns for path in (outside, *outside.rglob("*"))} == before
    shutil.rmtree(archive / "staging")
    (archive / "staging").symlink_to(outside)
    with (
        pytest.raises(ArchiveCorruptError, match="staging is not a plain folder but a link"),
        ray_index._staging(archive),
    ):
        pass
    assert {path: path.stat().st_mtime_ns for path in (outside, *outside.rglob("*"))} == before


class Mortal(Indexer):
    """A worker that dies of one scene, as of one that uses up the memory."""

    def index(self, scenes: Scenes, first_id: int) -> Any:
        """Die, or index."""
        if any("20230604" in file.key for file in scenes.scene_files):
            os._exit(1)
        return super().index(scenes, first_id)


def test_a_scene_that_kills_its_workers_is_reported_and_the_others_are_kept(
    embedded: Archive,
    ray_cluster: Any,
    second_node: Any,
    scene_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_index, "Indexer", Mortal)
    monkeypatch.setattr(ray_index, "TRIES", 1)
    monkeypatch.setattr(plan, "PARTS", 1)
    some = Scenes([scene_folder / f"a_2023060{day}.tif" for day in (3, 4, 5)])
    archive = new_archive(tmp_path, embedded)
    report = index_scenes(archive, some, tile_size=64, num_actors=1)
    ((scene, reason),) = report.skipped
    assert scene.endswith("a_20230604.tif")
    assert "workers died while indexing it" in reason
    assert report.num_tiles == len(archive) == 12


def test_a_cluster_fits_a_hasher_with_the_chosen_backbone(
    ray_cluster: Any, second_node: Any, tmp_path: Path
) -> None:
    write(tmp_path / "scenes" / "s.tif", mosaic(4, 3, 1))
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "w.safetensors")
    choice = {"backbone": "test_resnet", "weights": tmp_path / "w.safetensors"}
    archives = [Archive.create(tmp_path / name, hasher="itq-8", **choice) for name in "ab"]
    index_scenes(archives[0], Scenes(tmp_path / "scenes"), tile_size=64, num_actors=1)
    archives[1].add(Scenes(tmp_path / "scenes"), tile_size=64)
    assert archives[0].hasher().backbone.model_name == "test_resnet"
    check_same(*archives)


def test_changed_scenes_are_replaced_and_bad_ones_reported(
    ray_cluster: Any, second_node: Any, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write(tmp_path / "scenes" / f"s{number}.tif", mosaic(2, 2, number))
    archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
    report = index_scenes(archive, Scenes(tmp_path / "scenes"), tile_size=64, num_actors=1)
    assert (report.num_tiles, archive.pending_hasher) == (12, None)
    write(tmp_path / "scenes" / "s2.tif", mosaic(3, 2, 7))
    write(tmp_path / "scenes" / "small.tif", mosaic(1, 1, 7)[:, :20, :20])
    write(tmp_path / "scenes" / "one_band.tif", mosaic(1, 1, 7)[:1])
    blank = write(tmp_path / "scenes" / "blank.tif", np.zeros_like(mosaic(1, 1, 7)), nodata=0)
    report = index_scenes(archive, Scenes(tmp_path / "scenes"), tile_size=64, num_actors=1)
    assert [Path(scene).name for scene in report.replaced] == ["s2.tif"]
    names = {Path(scene).name for scene, _ in report.skipped}
    assert names == {"small.tif", "one_band.tif", "blank.tif"}
    assert (report.num_tiles, len(report.unchanged), len(archive)) == (6, 2, 14)
    archive.compact()  # deletes what the replaced scene had
    other = Archive.create(tmp_path / "other", hasher=archive.hasher())
    paths = [tmp_path / "scenes" / f"s{n}.tif" for n in (1, 2, 3)]
    other.add(Scenes([*paths, blank]), tile_size=64)
    check_same(archive, other)
    again = index_scenes(archive, Scenes(tmp_path / "scenes"), tile_size=64, num_actors=1)
    assert str(blank) in again.unchanged
    with pytest.raises(SceneError, match="small.tif"):
        index_scenes(archive, Scenes(tmp_path / "scenes"), tile_size=64, strict=True)


def test_a_missing_gpu_is_reported_before_anything_is_reserved(
    embedded: Archive, ray_cluster: Any, scene_folder: Path, tmp_path: Path
) -> None:
    archive = new_archive(tmp_path, embedded)
    with pytest.raises(EngineError, match="the cluster has 2 cores and no GPU"):
        index_scenes(archive, Scenes(scene_folder), tile_size=64, device="cuda")
    assert archive.manifest.next_id == 0


def test_a_failed_commit_stops_the_workers_too(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "archive", num_bits=8)
    counts = np.zeros(0, np.int64)
    run = ray_index._Run(archive, None, [], counts, ray_index.AddReport(), strict=False)
    run.finished = ["no part"]
    pool = mock.Mock()
    with pytest.raises(AttributeError, match="scenes"):
        run.work(pool, None)
    pool.close.assert_called_once_with()


def test_parts_of_killed_runs_are_removed(tmp_path: Path) -> None:
    archive = CodeStore.create(tmp_path / "archive", num_bits=8)
    left = archive.path / "staging" / uuid.uuid4().hex
    left.mkdir(parents=True)
    (left / "part").write_text("x")
    with ray_index._staging(archive.path) as mine:
        assert not left.exists()
        with ray_index._staging(archive.path) as other:
            assert mine.exists()
            assert other.exists()
    assert not (archive.path / "staging").exists()


def test_only_parts_with_reserved_ids_and_the_same_hasher_are_adopted(tmp_path: Path) -> None:
    archive = CodeStore.create(tmp_path / "archive", num_bits=8)
    codes = np.zeros((5, 1), np.uint8)
    archive.add_codes(codes, make_grid(5), fingerprint="a" * 64)
    part = CodeStore.create(tmp_path / "part", num_bits=8)
    part.reserve_ids(archive.manifest.next_id)
    part.add_codes(codes, make_grid(5, scene="other.tif"), fingerprint="a" * 64)
    with pytest.raises(TileTableError, match="ids were not reserved"):
        archive.adopt([part])
    assert archive.reserve_ids(10) == 5
    other = CodeStore.create(tmp_path / "other", num_bits=8)
    other.add_codes(codes, make_grid(5), fingerprint="b" * 64)
    with pytest.raises(HasherMismatchError, match="made by hasher"):
        archive.adopt([other])
    archive.adopt([part], replace_scenes=["scene.tif"])
    frame = archive.tiles(range(5, 10))
    assert frame["scene"].tolist() == ["other.tif"] * 5
    assert len(archive) == 5
    archive.add_codes(codes, make_grid(5))
    assert archive.manifest.next_id == 20
    assert verify_archive(archive.path).ok


def test_kinds_of_values_are_found_in_all_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = mosaic(2, 2, 1)
    write(tmp_path / "s" / "a.tif", pixels)
    write(tmp_path / "s" / "b.tif", (pixels / 1000).astype(np.float32))
    monkeypatch.setattr(ray_index, "connect", mock.Mock(side_effect=EngineError("fitted")))
    archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
    with (
        pytest.warns(GeoHashRSWarning, match="the scenes hold 2 kinds of values"),
        pytest.raises(EngineError, match="fitted"),
    ):
        index_scenes(archive, Scenes(tmp_path / "s"), tile_size=64)
    assert [values.kind for values in archive.hasher().values] == ["picture", "fraction"]


def test_a_scene_of_other_bands_is_reported_once_before_any_worker_starts(
    embedded: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "s" / "a.tif", mosaic(1, 1, 1))
    write(tmp_path / "s" / "gray.tif", mosaic(1, 1, 2)[:1])
    monkeypatch.setattr(ray_index, "connect", mock.Mock(side_effect=EngineError("planned")))
    reports: list[Any] = []
    real = ray_index.imagery_of_scenes
    monkeypatch.setattr(
        ray_index, "imagery_of_scenes", lambda *a, **k: reports.append(real(*a, **k)) or reports[-1]
    )
    with pytest.raises(EngineError, match="planned"):
        index_scenes(new_archive(tmp_path, embedded), Scenes(tmp_path / "s"), tile_size=64)
    ((scene, reason),) = reports[0].report.skipped
    assert scene.endswith("gray.tif")
    assert "1 band" in reason
