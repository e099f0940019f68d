"""Run the demo, from making scenes to the picture of the matches."""

import time
from collections.abc import Callable
from pathlib import Path

from geohash_rs.archive import Archive
from geohash_rs.demo.picture import draw_matches
from geohash_rs.demo.scenes import PATCHES, write_patches, write_scenes
from geohash_rs.errors import ArchiveNotFoundError
from geohash_rs.retrieval.matches import Matches
from geohash_rs.scenes.dataset import Scenes

__all__ = ["run_demo"]

TILE_SIZE = 64
STRIDE = 64
HASHER = "itq-64"


def run_demo(
    folder: Path, *, patch: str, seed: int, say: Callable[[str], None], progress: bool = False
) -> Matches:
    """Write scenes, index them, search with a patch, and write matches and a picture.

    Args:
        folder: Folder for all files; made if it does not exist. Files of an earlier run are reused
            or replaced.
        patch: The patch to search with, a name in `PATCHES`.
        seed: Seed of the landscape.
        say: Called with a line for each step.
        progress: Show a progress bar while indexing, if this is a terminal.

    Returns:
        The matches.
    """
    start = time.monotonic()
    scenes = write_scenes(folder / "scenes", seed=seed)
    patches = write_patches(folder / "patches", seed=seed)
    say(
        f"1. Generated a coast from seed {seed}: {len(scenes)} GeoTIFF scenes in "
        f"{folder / 'scenes'} (two UTM zones, spring and autumn), and small patches from outside "
        "the scenes."
    )
    try:
        archive = Archive.open(folder / "archive")
    except ArchiveNotFoundError:
        archive = Archive.create(folder / "archive", hasher=HASHER)
    archive.add(Scenes(folder / "scenes"), tile_size=TILE_SIZE, stride=STRIDE, progress=progress)
    say(
        f"2. Indexed {len(archive):,} tiles of {TILE_SIZE} x {TILE_SIZE} px into {archive.path}: "
        f"{archive.num_bits} bits each, from a network that was not trained on any of them."
    )
    asked = patches[patch]
    before = time.monotonic()
    matches = archive.query(asked, k=8)
    took = time.monotonic() - before
    result = folder / "matches.geojson"
    matches.to_file(result)
    near, far = matches["distance"].min(), matches["distance"].max()
    say(
        f"3. Searched with {asked} in {took:.2f} s: {len(matches)} matches at distances of "
        f"{near} to {far} bits, written to {result}."
    )
    picture = folder / "matches.png"
    draw_matches(
        matches, picture, patch=asked, scenes=scenes, title=f"What looks like this {patch}?"
    )
    say(f"4. Drew them next to the patch and on a map: {picture}")
    others = " or ".join(name for name in PATCHES if name != patch)
    say(
        f"Done in {time.monotonic() - start:.0f} s. Next:\n"
        f"   look at {picture}, open {result} in QGIS\n"
        f"   geohash-rs query {archive.path} {folder / 'patches' / 'river.tif'} -k 5\n"
        f"   geohash-rs demo {folder} --patch PATCH     with {others}\n"
        f"   geohash-rs index YOUR_SCENES/ --archive my-archive   then query it with your own patch"
    )
    return matches
