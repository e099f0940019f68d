"""Find the scenes in folders, files and URIs, and read their headers."""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely

from geohash_rs.errors import GeoHashRSError, SceneError, one_line
from geohash_rs.footprints.windows import footprints
from geohash_rs.scenes.band_files import remember_apart
from geohash_rs.scenes.containers import container_of, other_raster
from geohash_rs.scenes.dates import DateRule
from geohash_rs.scenes.file import SceneFile, read_scene_file, real_path, scene_key
from geohash_rs.scenes.folders import FolderSearch, is_folder, shown_name
from geohash_rs.scenes.remote import is_virtual
from geohash_rs.scenes.sensors import sensor_of
from geohash_rs.scenes.sources import SIDE_FILES
from geohash_rs.scenes.stack_vrt import SeparateScenesError
from geohash_rs.scenes.stacks import find_stacks, members_at

__all__ = ["SCENE_ENDINGS", "FoundScenes", "find_scenes", "scene_paths"]

SCENE_ENDINGS = (".tif", ".tiff", ".vrt", ".jp2", ".img")
ZARR = ".zarr"  # a folder that is one store


@dataclass(kw_only=True)
class FoundScenes:
    """Scenes that can be read, and what was left out.

    Attributes:
        scene_files: Headers of the scenes, in the order of their paths.
        unreadable: Path and reason for each file that cannot be used.
        passed_over: As in `FolderSearch`.
        other_layers: As in `geohash_rs.scenes.stacks.Found`.
        containers: Path and description of each file in a folder that holds other files or several
            rasters, or is a raster that must be named, and of each mosaic of the scenes.
    """

    scene_files: list[SceneFile] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    passed_over: list[tuple[str, str]] = field(default_factory=list)
    other_layers: list[str] = field(default_factory=list)
    containers: list[tuple[str, str]] = field(default_factory=list)


def find_scenes(
    paths: Sequence[str | Path],
    *,
    rule: DateRule,
    bands: Sequence[int | str] | None,
    strict: bool,
) -> FoundScenes:
    """Find scenes and read their headers.

    Args:
        paths: Folders (searched recursively), files or URIs.
        rule: Sources of their dates.
        bands: One-based indexes or names of the bands that every scene must have; None asks for
            none.
        strict: Raise for the first unusable file instead of listing it.

    Returns:
        The scenes, one or more, and what was left out.

    Raises:
        GeoHashRSError: With ``strict``, if a file cannot be used.
        SceneError: If a path does not exist, or no scene can be read.
    """
    search = FolderSearch(wanted=_is_scene_name, noted=_is_container)
    stacks = find_stacks(scene_paths(paths, search=search))
    found = FoundScenes(
        unreadable=[(shown_name(path), shown_name(reason)) for path, reason in search.failed],
        passed_over=search.passed_over,
        other_layers=stacks.other_layers,
        containers=[
            (shown_name(path), shown_name(container_of(path) or other_raster(path)))
            for path in search.seen
        ],
    )
    if strict and found.unreadable:
        raise SceneError(found.unreadable[0][1])
    waiting, scenes = deque(stacks.scenes), list[SceneFile]()
    while waiting:
        path = waiting.popleft()
        try:
            scene = read_scene_file(path, rule=rule, bands=bands)
            scene.band_indexes(bands)
            _check_on_earth(scene)
        except GeoHashRSError as error:
            # Files of a product, unlike those of blocks that are only numbered, belong together.
            is_product = sensor_of(path) is not None or path.upper().endswith(".SAFE")
            may_part = isinstance(error, SeparateScenesError) and not is_product
            named = stacks.stacks.get(path, ()) if may_part else ()
            if members := [member.path for member in named]:
                remember_apart(members)
                waiting.extendleft(reversed(members))
                continue
            if strict:
                raise
            found.unreadable.append((shown_name(scene_key(path)), shown_name(one_line(error))))
        else:
            scenes.append(scene)
    _add_each_once(scenes, found)
    if not found.scene_files:
        raise SceneError(_nothing_to_read(paths, found))
    return found


def _add_each_once(scenes: Sequence[SceneFile], found: FoundScenes) -> None:
    """Add scenes, without mosaics of the others and files that two names lead to."""
    sources: dict[str, SceneFile] = {}
    for scene in scenes:
        members = scene.files if scene.is_stack else (scene.key,)
        sources.update((real_path(member), scene) for member in members)
    for scene in scenes:
        first = sources[real_path(scene.key)] if not scene.is_stack else scene
        if first is not scene:
            found.passed_over.append((scene.key, f"the same file as {first.key}"))
            continue
        parts = _parts_of_mosaic(scene)
        whole = [sources[part] for part in parts if part in sources]
        bands = {len(other.color_bands) for other in whole}
        if parts and len(whole) == len(parts) and bands == {len(scene.color_bands)}:
            others = f" and {len(whole) - 1} more" if len(whole) > 1 else ""
            reason = f"a mosaic of scenes that are read themselves ({whole[0].name}{others})"
            found.containers.append((scene.key, reason))
            continue
        found.scene_files.append(scene)


def _parts_of_mosaic(scene: SceneFile) -> list[str]:
    """List the files of which a virtual raster is made, without their side files."""
    if scene.is_stack or not scene.key.lower().endswith(".vrt"):
        return []
    files = [real_path(file) for file in scene.files if not file.lower().endswith(SIDE_FILES)]
    return [file for file in files if file != real_path(scene.key)]


def scene_paths(paths: Iterable[str | Path], *, search: FolderSearch | None = None) -> list[str]:
    """List the files that may be scenes: those named, and those in the folders named.

    Args:
        paths: Folders, files or URIs.
        search: Records what is passed over.

    Returns:
        Paths and URIs, sorted; a file named twice is listed once.

    Raises:
        SceneError: If a path does not exist.
    """
    search = search or FolderSearch(wanted=_is_scene_name)
    found: dict[str, str] = {}
    for path in paths:
        folder = Path(path)
        if folder.suffix.lower() == ZARR and folder.is_dir():
            search.seen.append(str(path))
        elif folder.is_dir():
            found.update((scene_key(name), name) for name in search.files(path))
        elif is_virtual(path) or members_at(str(path)):
            found[scene_key(path)] = str(path)
        elif folder.exists():
            if search.take(path):
                found[scene_key(path)] = str(path)
        else:
            msg = f"{path} does not exist; pass a folder of GeoTIFFs, files or URIs."
            raise SceneError(msg)
    return sorted(found.values())


def _is_scene_name(name: str) -> bool:
    return name.lower().endswith(SCENE_ENDINGS)


def _is_container(entry: os.DirEntry[str]) -> bool:
    """Return whether a file, or folder of a Zarr store, holds other files or several rasters."""
    if is_folder(entry):
        return entry.name.lower().endswith(ZARR)
    return container_of(entry.name) != "" or other_raster(entry.path) != ""


def _check_on_earth(scene: SceneFile) -> None:
    """Check that a scene can be placed on the Earth, before it joins the others.

    Raises:
        SceneError: If it cannot.
    """
    try:
        with np.errstate(all="ignore"):  # absurd numbers are named below
            footprints(scene.transform, [[0, 0, scene.width, scene.height]], crs=scene.crs)
    except (SceneError, shapely.GEOSException, ArithmeticError, ValueError) as error:
        msg = f"{scene.name}: {one_line(error)}"
        raise SceneError(msg) from error


def _nothing_to_read(paths: Sequence[str | Path], found: FoundScenes) -> str:
    where = ", ".join(map(str, paths))
    if not found.unreadable:
        endings = " ".join(SCENE_ENDINGS)
        others = [*found.containers, *found.passed_over]
        over = "".join(f"; {path} is {reason}" for path, reason in others[:1])
        return f"no scenes in {where}; looked for files ending in {endings}{over}."
    reasons = "; ".join(reason for _, reason in found.unreadable[:3])
    return f"none of {len(found.unreadable)} files in {where} can be used: {reasons}"
