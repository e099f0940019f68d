"""``geohash-rs info``, ``compact``, ``verify`` and ``export``: maintain an archive."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geohash_rs.cli.options import echo_json, remote_scenes_option
from geohash_rs.cli.terminal import echo

if TYPE_CHECKING:
    from typing import Any

    from geohash_rs.scenes.values import Values
    from geohash_rs.store.code_store import CodeStore

__all__ = [
    "compact_command",
    "export_command",
    "info_command",
    "verify_command",
]

MOST_SCENES = 20  # listed by `info`

archive_argument = click.argument("archive", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command("info")
@archive_argument
@json_option
def info_command(archive: Path, as_json: bool) -> None:
    """Report what an archive holds: tiles, scenes, hasher, extent and dates."""
    from geohash_rs.store.code_store import CodeStore
    from geohash_rs.store.summary import summarise

    opened = CodeStore.open(archive, mode="r")
    summary = summarise(opened)
    summary |= _about_hasher(opened)
    if as_json:
        echo_json(summary)
        return
    width = max(map(len, summary))
    for name, value in summary.items():
        shown = "-" if value is None else value
        lines = [shown]
        if name == "sensors":
            lines = [_sensor_line(sensor) for sensor in value] or ["-"]
        elif name == "tile_sizes":
            lines = [", ".join(f"{count} of {size} px" for size, count in value.items()) or "-"]
        elif name == "scenes":
            lines = list(value[:MOST_SCENES]) or ["-"]
            if len(value) > MOST_SCENES:
                lines.append(f"... and {len(value) - MOST_SCENES} more (--json lists all)")
        elif name == "hasher_notes":
            lines = [_note_line(key, note) for key, note in value.items()] or ["-"]
        elif isinstance(shown, list):
            parts = (f"{part:.6g}" if isinstance(part, float) else str(part) for part in shown)
            lines = [", ".join(parts)]
        for number, line in enumerate(lines):
            echo(f"{'' if number else name:<{width}}  {line}")


def _sensor_line(sensor: "dict[str, Any]") -> str:
    """Describe how well codes distinguish the tiles of a sensor."""
    scenes = "1 scene" if sensor["scenes"] == 1 else f"{sensor['scenes']} scenes"
    return (
        f"{sensor['sensor']}: {sensor['tiles']} tiles of {scenes}; two tiles "
        f"differ in {sensor['mean_distance']} bits on average; {sensor['constant_bits']} constant bits"
    )


def _about_hasher(archive: "CodeStore") -> "dict[str, Any]":
    """Describe the hasher of an archive, if its file can be read."""
    from geohash_rs.errors import HasherError
    from geohash_rs.hashing.description import describe_hasher, name_of_embedding

    found: dict[str, Any] = {}
    if archive.hasher_file is None:
        return found
    with suppress(HasherError):  # commands that need the hasher report a damaged file
        about = describe_hasher(archive.hasher_file)
        found["hasher_name"] = about["name"]
        if "embedding" in about:
            found["hasher_embedding"] = name_of_embedding(about["embedding"])
        else:
            found["hasher_backbone"] = _backbone_line(about["backbone"])
            found["hasher_values"] = [str(values) for values in _values_of(about)]
        found["hasher_notes"] = dict(about["notes"])
    return found


def _backbone_line(backbone: "dict[str, Any]") -> str:
    """Describe the network of a hasher and its weights."""
    stages = "".join(f" + {stage}" for stage in backbone["stages"])
    return f"{backbone['model']}{stages}, weights: {backbone['weights']}"


def _note_line(key: str, note: object) -> str:
    """Write a note of a hasher's card, any JSON value, on a line."""
    if isinstance(note, list) and all(isinstance(part, str) for part in note):
        return f"{key}: {', '.join(note)}"
    return f"{key}: {note if isinstance(note, str) else json.dumps(note, ensure_ascii=False)}"


def _values_of(about: "dict[str, Any]") -> "tuple[Values, ...]":
    """Return the values that a hasher was made for, from its description."""
    from geohash_rs.hashing.network.scaling import Scaling, made_for
    from geohash_rs.scenes.values import Values

    values = [Values.from_dict(each) for each in about.get("values", ())]
    return made_for(values, Scaling.from_dict(about["scaling"]))


@click.command("compact")
@archive_argument
@json_option
def compact_command(archive: Path, as_json: bool) -> None:
    """Merge small segments, and free the space of removed tiles. Tile ids do not change."""
    from geohash_rs.archive import Archive

    opened = Archive.open(archive)
    before = len(opened.manifest.segments)
    opened.compact()
    after = len(opened.manifest.segments)
    if as_json:
        echo_json({"segments_before": before, "segments": after, "tiles": opened.num_tiles})
    else:
        echo(f"{before} segments became {after}; {archive} holds {opened.num_tiles} tiles.")


@click.command("verify")
@archive_argument
@json_option
def verify_command(archive: Path, as_json: bool) -> int:
    """Check every file of an archive against its checksum; exit with code 1 if one is damaged."""
    from geohash_rs.store.verification import verify_archive

    report = verify_archive(archive)
    if as_json:
        echo_json({**asdict(report), "ok": report.ok})
    else:
        echo(
            f"{report.num_good_tiles} of {report.num_tiles} tiles are good "
            f"({report.num_segments} segments, {report.num_bytes} bytes read)."
        )
        for orphan in report.orphans:
            echo(f"left over: {orphan} (the next 'compact' removes it)")
        for folder in report.unfinished:
            echo(f"unfinished: {folder} ('refit' resumes it; delete the folder to give it up)")
    for damage in report.damage:
        echo(f"damaged {damage.file}: {damage.problem}", err=True)
    if not report.ok:
        echo(f"geohash-rs: {archive} has {len(report.damage)} damaged files.", err=True)
    return 0 if report.ok else 1


@click.command("export")
@archive_argument
@click.option("-o", "--output", required=True, help="What to write: .geojson, .json, .gpkg, .csv or .html; with the codes: .parquet or .zarr; to search in a browser: a folder, such as site/.")
@click.option("--pictures", is_flag=True, help="Copy a picture of each tile into the folder; the scenes' licence must allow that.")
@click.option("--stac", is_flag=True, help="Write a STAC item and collection next to .parquet or .zarr, which describe the codes.")
@remote_scenes_option
@json_option
def export_command(archive: Path, output: str, pictures: bool, stac: bool, remote_scenes: bool, as_json: bool) -> None:
    """Write all tiles of an archive to one file, or to a folder that a browser can search.

    OUTPUT is a folder if it ends in a slash or has no ending, such as site/.
    """
    from geohash_rs.archive import Archive
    from geohash_rs.export.codes import CODE_ENDINGS, check_codes_output, write_codes
    from geohash_rs.export.formats import check_output, write_batches
    from geohash_rs.export.site.folder import is_site_path
    from geohash_rs.store.summary import exported_tiles

    is_site, path = is_site_path(output), Path(output)
    with_codes = not is_site and path.suffix.lower() in CODE_ENDINGS
    if pictures and not is_site:
        msg = "--pictures needs -o with a folder, such as site/"
        raise click.UsageError(msg, click.get_current_context())
    if remote_scenes and not pictures and (is_site or path.suffix.lower() != ".html"):
        msg = "--remote-scenes needs -o with a format that has pictures: .html, or a folder with --pictures"
        raise click.UsageError(msg, click.get_current_context())
    if stac and not with_codes:
        msg = f"--stac describes codes, so it needs -o with {' or '.join(CODE_ENDINGS)}"
        raise click.UsageError(msg, click.get_current_context())
    if is_site:
        _export_site(archive, path, pictures=pictures, remote_scenes=remote_scenes, as_json=as_json)
        return
    if with_codes:
        check_codes_output(path, stac=stac)
    else:
        check_output(path)
    opened = Archive.open(archive, mode="r")
    if with_codes:
        count = write_codes(opened.to_table(), path, model=_model_of(opened), stac=stac)
    else:
        count = write_batches(exported_tiles(opened), path, remote_scenes=remote_scenes)
    if as_json:
        echo_json({"tiles": count, "output": output})
    else:
        echo(f"{count} tiles written to {output}.")


def _export_site(archive: Path, output: Path, *, pictures: bool, remote_scenes: bool, as_json: bool) -> None:
    """Write a folder that a browser can search, after saying how large it will be."""
    from geohash_rs.archive import Archive
    from geohash_rs.export.changed import changed_scenes
    from geohash_rs.export.site.folder import check_site_output, site_size, write_site
    from geohash_rs.pictures.permission import Permission
    from geohash_rs.store.searchable import bits_of

    check_site_output(output)
    opened = Archive.open(archive, mode="r")
    about = site_size(len(opened), bits_of(opened), pictures=pictures) / 1e6
    echo(f"{output} will hold {len(opened)} tiles in roughly {about:,.1f} MB.", err=True)
    if pictures:
        echo("It will copy the scenes' imagery in small pictures; publish it only if their licence allows that.", err=True)
    permission = Permission(remote_scenes=remote_scenes)
    name = opened.path.resolve().name
    count = write_site(opened.to_table(), output, name=name, pictures=pictures, permission=permission)
    if pictures and (changed := changed_scenes(opened.path, opened.scene_names(), permission)):
        echo(changed, err=True)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if as_json:
        echo_json({"tiles": count, "output": str(output), "bytes": size})
    else:
        echo(f"{count} tiles written to {output} ({size / 1e6:,.1f} MB); open index.html, or copy the folder to any web host.")


def _model_of(archive: "CodeStore") -> str:
    """Return the name of the model whose vectors were hashed; "" if nobody said."""
    from geohash_rs.hashing.description import describe_hasher

    if archive.hasher_file is None:
        return ""
    about = describe_hasher(archive.hasher_file)
    if "embedding" not in about:
        return _backbone_line(about["backbone"])
    parts = [about["embedding"].get(name) for name in ("model", "version", "variant")]
    return " ".join(part for part in parts if part)
