"""Write the codes of an archive as data for others: GeoParquet or Zarr, with STAC next to them."""

import json
import os
from pathlib import Path

from geohash_rs.errors import ExportError
from geohash_rs.export.code_facts import CodeFacts
from geohash_rs.export.code_order import curve_ranks, in_curve_order
from geohash_rs.export.code_parquet import write_code_parquet
from geohash_rs.export.code_stac import check_stac, stac_documents, stac_paths
from geohash_rs.export.code_zarr import check_zarr, write_code_zarr
from geohash_rs.export.folders import replacing_folder
from geohash_rs.export.formats import check_place, reporting
from geohash_rs.store.code_table import CodeTable
from geohash_rs.store.disk.durable import replacing

__all__ = ["CODE_ENDINGS", "check_codes_output", "write_codes"]

CODE_ENDINGS = (".parquet", ".zarr")


def write_codes(
    table: CodeTable,
    path: str | os.PathLike[str],
    *,
    model: str = "",
    stac: bool = False,
) -> int:
    """Write all tiles with their codes to a GeoParquet file or a Zarr group.

    Tiles follow a Hilbert curve over the globe. A few hundred thousand are in memory at a time, and
    24 bytes of each; tiles of several segments are sorted in files next to the output. The output
    appears complete or not at all.

    - `.parquet`: GeoParquet 1.1 with the columns of `CodeTable`, but for the code, which is the
      column `embedding`: a list of bytes. Boxes of the footprints are the column `bbox`; the
      metadata `emb` describe the codes.
    - `.zarr`: a Zarr group, version 3, by the convention `geoemb:`. Its arrays have the dimension
      `tile`: `embeddings`, uint8, shape (tiles, bits / 8); `bounds`, the boxes of the footprints in
      degrees, shape (tiles, 4); `lon` and `lat`, their middle; and a column each.

    Args:
        table: All columns of an archive, as from `archive.to_table()`; filters may be set.
        path: File or folder to write; a former one is replaced.
        model: Name or address of the model whose vectors were hashed, "" if it is unknown; it is
            written as `geohash_rs:features`. The model of the codes is the hasher.
        stac: Whether to write a STAC item and a collection too, such as `codes.parquet.item.json`
            and `codes.parquet.collection.json`.

    Returns:
        The number of tiles.

    Raises:
        ExportError: If the ending is another, the folder does not exist, the path lies in an
            archive or names a folder without a Zarr group, zarr is not installed, columns are
            missing, or the disk is full. With `stac`, also if no tile has a date, or a file in the
            place of a document is none of this output.
        ArchiveCorruptError: If a file of the archive is damaged.
        EngineError: If a database cannot answer.

    >>> write_codes(archive.to_table(), "codes.parquet")  # doctest: +SKIP
    """
    target = Path(os.path.realpath(path))
    check_codes_output(target, stac=stac)
    missing = {"code", "geometry", "scene", "datetime", "datetime_end", "tile_size"}.difference(
        table.schema.names
    )
    if missing:
        msg = f"the table lacks the columns {sorted(missing)}; pass archive.to_table()."
        raise ExportError(msg)
    facts = CodeFacts.of(table, model=model)
    is_zarr = target.suffix.lower() == ".zarr"
    with reporting(target), (replacing_folder if is_zarr else replacing)(target) as draft:
        ranks = curve_ranks(table)
        scratch = draft.with_name("order")
        scratch.mkdir()
        tables = in_curve_order(table, ranks, scratch)
        if is_zarr:
            write_code_zarr(tables, draft, schema=table.schema, num_tiles=len(ranks), facts=facts)
        else:
            write_code_parquet(tables, draft, schema=table.schema, facts=facts)
        documents = stac_documents(target, facts) if stac else ()  # refused before any is in place
    for described, document in zip(stac_paths(target), documents, strict=False):
        with reporting(described), replacing(described) as draft:
            draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return facts.num_tiles


def check_codes_output(path: str | os.PathLike[str], *, stac: bool = False) -> None:
    """Check a path that codes are to be written to, to fail before any work is done.

    Args:
        path: File or folder.
        stac: As in `write_codes`.

    Raises:
        ExportError: As `write_codes`.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in CODE_ENDINGS:
        msg = f"codes are written to {' or '.join(CODE_ENDINGS)}, not to {target}."
        raise ExportError(msg)
    check_place(target)
    if ending == ".zarr":
        check_zarr()
    if target.is_dir() and (ending != ".zarr" or not (target / "zarr.json").is_file()):
        msg = (
            f"{target} is a folder without a Zarr group, so it is not replaced; choose another "
            "name or remove it."
        )
        raise ExportError(msg)
    if stac:
        check_stac(Path(os.path.realpath(path)))
