"""Index your GeoTIFFs, search them with a patch, reject wrong matches and write the result.

    python examples/08_search_your_scenes.py SCENES PATCH.tif RESULT.html [--reject TILE ...]

RESULT may end in .geojson, .gpkg, .parquet, .csv or .html. The archive is kept next to the result,
so a second search starts at once: SCENES that are already indexed are skipped.
"""

import argparse
from pathlib import Path

from geohash_rs import Archive, Scenes, open_or_create


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path)
    parser.add_argument("patch", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--reject", type=int, nargs="*", default=[], help="ids of wrong matches")
    parser.add_argument("--tile-size", type=int, default=64)
    settings = parser.parse_args()
    archive: Archive = open_or_create(settings.result.parent / "archive", hasher="general-64")
    report = archive.add(Scenes(settings.scenes), tile_size=settings.tile_size, progress=True)
    print(f"{report.num_tiles} new tiles; the archive has {len(archive)}")
    matches = archive.query(settings.patch, k=12, negatives=settings.reject or None, distinct=True)
    matches.to_file(settings.result)
    for match in matches.itertuples():
        print(f"{match.rank:3}  {match.distance:3} bits  tile {match.tile_id}  {match.scene}")
    print(f"written to {settings.result}; improve it with --reject and wrong tile ids")


if __name__ == "__main__":
    main()
