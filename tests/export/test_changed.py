"""Exports say so if pictures show scenes that were changed since they were indexed."""

import os
import re
import warnings

import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.export import write
from geohash_rs.store.summary import exported_tiles
from tests.ground import mosaic
from tests.ground import write as write_scene

CHANGED = r"^a\.tif was changed since it was indexed: .*run 'geohash-rs index' again\.$"


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("a.tif", "b.tif")):
        write_scene(tmp_path / "disk" / name, mosaic(2, 2, number + 1))
    return tmp_path / "disk"


@pytest.fixture
def archive(tmp_path, folder):
    made = Archive.create(tmp_path / "archive", hasher="lsh-16")
    made.add(Scenes(folder), tile_size=64, checksum=True)
    return made


@pytest.mark.parametrize("ending", ["html", "gpkg"])
def test_one_warning_names_a_scene_that_was_changed(archive, folder, tmp_path, ending):
    matches = archive.query(tile=0, k=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeoHashRSWarning)
        matches.to_file(tmp_path / f"before.{ending}")
        os.utime(folder / "b.tif")  # its checksum is the same
        matches.to_file(tmp_path / f"touched.{ending}")
    write_scene(folder / "a.tif", mosaic(2, 2, 77))
    with pytest.warns(GeoHashRSWarning, match=CHANGED) as seen:
        matches.head(8).to_file(tmp_path / f"after.{ending}")
    assert sum(one.category is GeoHashRSWarning for one in seen) == 1
    archive.add(Scenes(folder), tile_size=64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeoHashRSWarning)
        archive.query(tile=8, k=3).to_file(tmp_path / f"z.{ending}")


def test_the_page_and_many_queries_and_whole_archives_say_so(archive, folder, tmp_path):
    places = archive.tiles([0, 5])
    write_scene(folder / "a.tif", mosaic(2, 2, 77))
    write_scene(folder / "b.tif", mosaic(2, 2, 78))
    many = archive.query_each(places, k=4)
    both = "2 scenes, such as a.tif, were changed since they were indexed"
    for table in (many, *exported_tiles(archive)):
        with pytest.warns(GeoHashRSWarning, match=f"^{both}"):
            write(table, tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert re.search(f"<p>{both}", page)
    assert both in many._repr_html_()


def test_a_page_of_many_rankings_has_a_heading_and_numbers_for_each(archive, tmp_path):
    archive.query_each(archive.tiles([0, 5]), k=2).to_file(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    parts = re.split(r"<h2>\d: (query \d)</h2>", page)
    assert parts[1::2] == ["query 1", "query 2"]
    shown = [re.findall(r'class="rank">([^<]+)<', part) for part in parts[2::2]]
    assert shown == [["1.1", "1.2"], ["2.1", "2.2"]]
    assert set(re.findall(r'class="num"[^>]*>([^<]+)<', page)) == {"1.1", "1.2", "2.1", "2.2"}


def test_matches_of_an_archive_that_is_gone_are_written_as_before(archive, folder, tmp_path):
    matches = archive.query(tile=0, k=2)
    archive.close()
    archive.path.rename(tmp_path / "elsewhere")
    write_scene(folder / "a.tif", mosaic(2, 2, 77))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeoHashRSWarning)
        matches.to_file(tmp_path / "page.html")
