"""A STAC item and a collection that describe exported codes, with the extension for embeddings."""

import json
import os
from pathlib import Path
from typing import Any

from geohash_rs.errors import ExportError
from geohash_rs.export.code_facts import HASHER, CodeFacts

__all__ = ["check_stac", "stac_documents", "stac_paths"]

VERSION = "1.0.0"  # the one that the extension's schema builds on
EXTENSION = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
ITEM_ASSETS = "https://stac-extensions.github.io/item-assets/v1.0.0/schema.json"
MEDIA = {".parquet": "application/vnd.apache.parquet", ".zarr": "application/vnd+zarr"}
GLOBE = [-180.0, -90.0, 180.0, 90.0]
USE = ["retrieval"]
KINDS = ("item", "collection")


def stac_paths(data: Path) -> tuple[Path, Path]:
    """Return where the item and the collection of exported codes lie."""
    item, collection = (data.with_name(f"{data.name}.{kind}.json") for kind in KINDS)
    return item, collection


def check_stac(data: Path) -> None:
    """Check that the documents replace nothing but former ones of the same file or folder.

    Args:
        data: The file or folder that holds the codes.

    Raises:
        ExportError: If there is something else in their place.
    """
    for path, named in zip(stac_paths(data), (data.name, f"{data.name}-collection"), strict=True):
        if os.path.lexists(path) and not _is_ours(path, named):
            msg = (
                f"{path} does not describe {data.name} as exported by geohash-rs, so it is not "
                "replaced; choose another name for the codes, or move the file away."
            )
            raise ExportError(msg)


def _is_ours(path: Path, named: str) -> bool:
    """Return whether a file is a document of this id that `stac_documents` wrote."""
    try:
        said = json.loads(path.read_bytes())
        models = [link["href"] for link in said["links"] if link["rel"] == "emb:model"]
        return bool(said["id"] == named and models and models[0].startswith(HASHER))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False


def stac_documents(data: Path, facts: CodeFacts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Describe exported codes.

    Args:
        data: The file or folder that holds them; the documents lie next to it.
        facts: What it holds.

    Returns:
        The item and the collection, as JSON values.

    Raises:
        ExportError: If no tile has a date, which a STAC item needs.

    References:
        https://github.com/geo-embeddings/embeddings-stac-specification
    """
    if facts.times is None:
        msg = (
            "no tile of the archive has a date, and a STAC item needs one; export without --stac, "
            "or index scenes whose dates are known."
        )
        raise ExportError(msg)
    first, last = (moment.isoformat().replace("+00:00", "Z") for moment in facts.times)
    asset = {
        "type": MEDIA[data.suffix.lower()],
        "roles": ["data"],
        "title": f"Binary codes of {facts.num_bits} bits, packed into bytes",
    }
    sources = [_link("emb:source-data", uri) for uri in facts.source_uris]
    item = {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": [EXTENSION],
        "id": data.name,
        "collection": f"{data.name}-collection",
        **_place(facts),
        "properties": {
            "datetime": None if first != last else first,
            "start_datetime": first,
            "end_datetime": last,
            "emb:quantization": facts.quantization,
            "emb:fit_for_use": USE,
            **facts.features,
        },
        "links": [
            _link("collection", stac_paths(data)[1].name, "application/json"),
            _link("emb:model", facts.model_uri),
            *sources,
        ],
        "assets": {"embeddings": {"href": data.name, **asset}},
    }
    size = facts.chip_size if len(facts.sizes) == 1 else None
    collection = {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [EXTENSION, ITEM_ASSETS],
        "id": f"{data.name}-collection",
        "description": (
            f"Binary codes of {facts.num_tiles} tiles, {facts.num_bits} bits each, packed into "
            "bytes with the most significant bit first. Tiles that look alike have codes of a "
            "small Hamming distance. The terms of the source data apply."
        ),
        "license": "various",
        "extent": {
            "spatial": {"bbox": [GLOBE if facts.bounds is None else facts.bounds.tolist()]},
            "temporal": {"interval": [[first, last]]},
        },
        "emb:type": "chip",
        "emb:dimensions": facts.num_bits,
        "data_type": "uint8",
        "emb:chip_layout": {
            "layout_type": "variable_grid",
            **({"chip_size": [size, size]} if size else {}),
        },
        "emb:fit_for_use": USE,
        **facts.features,
        "links": [
            _link("item", stac_paths(data)[0].name, "application/geo+json"),
            _link("emb:model", facts.model_uri),
            *(sources or [_link("emb:source-data", "urn:geohash-rs:source:unknown")]),
        ],
        "item_assets": {"embeddings": asset},
    }
    return item, collection


def _place(facts: CodeFacts) -> dict[str, Any]:
    """Return the box around all footprints, and no place if there are none."""
    if facts.bounds is None:
        return {"geometry": None}
    west, south, east, north = facts.bounds.tolist()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def _link(rel: str, href: str, media: str | None = None) -> dict[str, str]:
    return {"rel": rel, "href": href, **({"type": media} if media else {})}
