"""Several tile sizes in one archive: which tiles there are, and what happens to each scene."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.errors import TileSizeError
from geohash_rs.indexing.fair_sample import draw_tiles, drawn_rows
from geohash_rs.indexing.plan import ScenePlan
from geohash_rs.indexing.scene_imagery import SceneImagery
from geohash_rs.scenes.grids import TileGrids
from tests.ground import mosaic

Writer = Callable[..., Path]
SIZES = (64, 128, 256)

# four kinds of invented ground make few codes
pytestmark = pytest.mark.filterwarnings("ignore:the hasher does not fit")


@pytest.fixture
def scene(tmp_path: Path, write_scene: Writer) -> Path:
    """Write a scene of 320 x 256 px, with pixels of 10 m."""
    return write_scene(tmp_path / "s" / "a.tif", mosaic(5, 4, 1))


def starts(length: int, size: int, stride: int) -> list[int]:
    """Lay tiles along one axis, the last one moved inside."""
    found = list(range(0, length - size + 1, stride))
    return found if found[-1] + size == length else [*found, length - size]


def windows(width: int, height: int, steps: dict[int, int]) -> Counter[tuple[int, ...]]:
    """Lay tiles of each size and stride by plain loops."""
    return Counter(
        (col, row, size, size)
        for size, stride in steps.items()
        for row in starts(height, size, stride)
        for col in starts(width, size, stride)
    )


def in_archive(archive: Archive) -> Counter[tuple[int, ...]]:
    """Return the windows of all tiles of an archive."""
    found: Counter[tuple[int, ...]] = Counter()
    for frame in archive.iter_tiles():
        rows = frame[["col", "row", "width", "height"]]
        found.update(rows.itertuples(index=False, name=None))
    return found


def check_codes(archive: Archive, hasher: Hasher, scene: Path) -> None:
    """Compare the code of every tile with that of the pixels that rasterio reads."""
    with rasterio.open(scene) as source:
        pixels = torch.from_numpy(source.read())
    for frame in archive.iter_tiles():
        codes = archive.codes(frame["tile_id"].to_numpy())
        for code, tile in zip(codes, frame.itertuples(), strict=True):
            rows = slice(tile.row, tile.row + tile.height)
            cut = pixels[None, :, rows, tile.col : tile.col + tile.width]
            np.testing.assert_array_equal(hasher.codes(cut)[0], code)


def test_a_scene_is_cut_in_every_size(quick: Archive, quick_hasher: Hasher, scene: Path) -> None:
    report = quick.add(Scenes(scene), tile_size=(256, 64, 128))
    expected = windows(320, 256, {size: size for size in SIZES})
    assert in_archive(quick) == expected
    assert (report.num_tiles, report.num_scenes, report.notes) == (expected.total(), 1, [])
    (record,) = quick.scenes()
    assert (record.num_tiles, record.settings["tile_size"]) == (expected.total(), 64)
    check_codes(quick, quick_hasher, scene)
    manifest = json.loads((quick.path / "manifest.json").read_bytes())
    assert manifest["version"] == 1  # version 0.1.0 can read it


@pytest.mark.parametrize(
    ("stride", "steps"),
    [(64, {64: 64, 128: 64}), ((128, 32), {128: 128, 64: 32}), ([50], {64: 50, 128: 50})],
)
def test_one_stride_serves_all_sizes_and_several_serve_each_its_own(
    quick: Archive, scene: Path, stride: int | list[int], steps: dict[int, int]
) -> None:
    quick.add(Scenes(scene), tile_size=(128, 64), stride=stride)
    assert in_archive(quick) == windows(320, 256, steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": (64, 128, 64)}, "tile_size names 64 px twice"),
        ({"tile_size": (64, 0)}, "tile_size is 0 px and stride 0 px; both must be 1 or more"),
        ({"tile_size": -64}, "tile_size is -64 px"),
        ({"tile_size": ()}, r"tile_size is \(\), but it must be a whole number of pixels"),
        ({"tile_size": (64, 12.5)}, r"tile_size is \(64, 12\.5\), but it must be a whole number"),
        ({"tile_size": "64"}, "tile_size is '64', but it must be a whole number"),
        ({"tile_size": (64, 128), "stride": (1, 2, 3)}, "stride names 3 steps for 2 tile sizes"),
        ({"tile_size": (64, 128), "stride": (64, 0)}, "stride 0 px; both must be 1 or more"),
        ({"tile_size": (512, 1024)}, r"tile_size 512 px is larger than a\.tif \(320 x 256 px\)"),
    ],
)
def test_sizes_that_cannot_be_cut_are_refused(
    quick: Archive, scene: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(TileSizeError, match=message):
        quick.add(Scenes(scene), **options)  # type: ignore[arg-type]
    assert quick.num_tiles == 0


def test_a_scene_too_small_for_one_size_has_tiles_of_the_others_and_a_note(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    small = write_scene(scene.with_name("small.tif"), mosaic(2, 2, 2))
    report = quick.add(Scenes(scene.parent), tile_size=SIZES, strict=True)
    (note,) = report.notes
    assert note.startswith(
        "1 of 2 scenes have tiles of other sizes, but none of 256 px (such as small.tif: tile_size "
        "256 px is larger than small.tif (128 x 128 px)"
    )
    counts = {record.scene: record.num_tiles for record in quick.scenes()}
    assert counts[str(small)] == windows(128, 128, {64: 64, 128: 128}).total()
    again = quick.add(Scenes(scene.parent), tile_size=SIZES)
    assert (len(again.unchanged), again.notes, again.num_tiles) == (2, [], 0)
    tiny = write_scene(scene.with_name("tiny.tif"), mosaic(1, 1, 3)[:, :40])
    (skipped,) = quick.add(Scenes(scene.parent), tile_size=SIZES).skipped
    assert skipped[0] == str(tiny)
    assert "tile_size 64 px is larger than tiny.tif (64 x 40 px)" in skipped[1]


def test_other_sizes_replace_those_of_before(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene), tile_size=SIZES)
    assert quick.add(Scenes(scene), tile_size=[256, 128, 64]).unchanged == [str(scene)]
    for sizes in ((64, 128), (64, 256), 64, (64,), (64, 128)):
        report = quick.add(Scenes(scene), tile_size=sizes)
        steps = dict.fromkeys(sizes, 0) if isinstance(sizes, tuple) else {sizes: 0}
        assert in_archive(quick) == windows(320, 256, {size: size for size in steps})
        assert report.replaced == ([] if sizes == (64,) else [str(scene)])


def test_without_a_size_a_run_uses_the_sizes_that_all_scenes_have(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    quick.add(Scenes(scene), tile_size=(64, 128), stride=(32, 128))
    other = write_scene(scene.with_name("b.tif"), mosaic(5, 4, 2))
    report = quick.add(Scenes(scene.parent))
    assert (report.unchanged, report.replaced, report.num_scenes) == ([str(scene)], [], 1)
    expected = windows(320, 256, {64: 32, 128: 128})
    assert in_archive(quick) == expected + expected
    quick.add(Scenes(other), tile_size=64)  # now they differ
    assert quick.add(Scenes(scene.parent)).replaced == [str(scene)]
    assert {record.settings["tile_size"] for record in quick.scenes()} == {64}


def test_an_interrupted_run_resumes_with_all_sizes(
    quick: Archive, scene: Path, write_scene: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scene(scene.with_name("b.tif"), mosaic(5, 4, 2))
    encode = SceneImagery.encode

    def interrupted(self: SceneImagery, *args: object) -> Iterator[object]:
        for encoded in encode(self, *args):  # type: ignore[arg-type]
            if self.report.num_scenes == 2:
                raise KeyboardInterrupt
            yield encoded

    with monkeypatch.context() as patched:
        patched.setattr(SceneImagery, "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quick.add(Scenes(scene.parent), tile_size=SIZES)
    expected = windows(320, 256, {size: size for size in SIZES})
    assert in_archive(quick) == expected  # of the first scene, with all its sizes
    report = quick.add(Scenes(scene.parent), tile_size=SIZES)
    assert (report.unchanged, report.num_scenes) == ([str(scene)], 1)
    assert in_archive(quick) == expected + expected


def test_the_sample_to_fit_on_has_as_many_tiles_of_each_size(scene: Path) -> None:
    scenes = Scenes(scene)
    plan = ScenePlan(scenes, TileGrids.for_hasher(None, tile_size=(16, 32, 64)))
    plan.add(0)
    assert plan.counts.tolist() == [20 * 16 + 20 * 8 - 80 + 20]  # 320, 80 and 20
    drawn = plan.take(plan.sample(90))
    assert Counter(drawn[:, 3].tolist()) == {16: 35, 32: 35, 64: 20}
    everything = {tuple(tile) for part in plan.parts() for tile in part.tolist()}
    assert len({tuple(tile) for tile in drawn.tolist()} & everything) == 90


def test_a_refit_hashes_every_size_again_and_draws_them_fairly(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene), tile_size=(16, 32, 64))
    wanted = draw_tiles(quick.segments, quick.scenes(), size=90)
    assert {share: len(places) for share, places in wanted.items()} == {
        (str(scene), 16): 35,
        (str(scene), 32): 35,
        (str(scene), 64): 20,
    }
    drawn = [
        (segment.ids_of(rows), rows) for segment, _, rows in drawn_rows(quick.segments, wanted)
    ]
    ids = np.concatenate([found for found, _ in drawn])
    assert len(np.unique(ids)) == 90
    assert Counter(quick.tiles(ids)["width"].tolist()) == {16: 35, 32: 35, 64: 20}
    before = in_archive(quick)
    quick.refit("lsh-24")
    assert (quick.num_bits, in_archive(quick)) == (24, before)
    check_codes(quick, quick.hasher(), scene)


def test_resampled_tiles_have_a_column_that_tells_the_sizes_apart(
    quick: Archive, quick_hasher: Hasher, scene: Path, tmp_path: Path
) -> None:
    quick.add(Scenes(scene), tile_size=(16, 32), resolution=20)  # scene pixels of 10 m
    manifest = json.loads((quick.path / "manifest.json").read_bytes())
    assert manifest["version"] == 2  # which version 0.1.0 refuses
    tiles = quick.tiles(range(quick.num_tiles))
    pairs = zip(tiles["tile_size"], tiles["width"], tiles["height"], strict=True)
    assert Counter(pairs) == {(16, 32, 32): 80, (32, 64, 64): 20}
    for size in (16, 32):
        alone = Archive.create(tmp_path / str(size), hasher=quick_hasher)
        alone.add(Scenes(scene), tile_size=size, resolution=20)
        mine = tiles[tiles["tile_size"] == size].sort_values(["row", "col"])
        other = alone.tiles(range(alone.num_tiles)).sort_values(["row", "col"])
        np.testing.assert_array_equal(quick.codes(mine["tile_id"]), alone.codes(other["tile_id"]))
        found = quick.search(quick.codes([0]), k=200, tile_size=size).ids[0]
        assert set(found.tolist()) == set(mine["tile_id"].tolist())
    codes = quick.codes(range(100))
    quick.refit("lsh-24")
    assert quick.num_bits == 24
    quick.refit(quick_hasher)
    np.testing.assert_array_equal(quick.codes(range(100)), codes)


def test_sizes_that_cover_the_same_pixels_are_cut_once(quick: Archive, scene: Path) -> None:
    report = quick.add(Scenes(scene), tile_size=(32, 33), resolution=2.5)  # of 8 and 8.25 pixels
    assert in_archive(quick) == windows(320, 256, {8: 8})
    (note,) = report.notes
    assert "none of 33 px" in note
    assert "a.tif: they would cover the pixels of those of 32 px" in note


def test_a_dataset_with_a_sampler_takes_one_size_only(quick: Archive, scene: Path) -> None:
    scenes = Scenes(scene)
    with pytest.raises(TileSizeError, match=r"tile_size is \(64, 128\), .* those of its sampler"):
        quick.add(scenes, sampler=[], tile_size=(64, 128))
