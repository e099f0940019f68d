"""Measure areas of a known kind of ground: error of the total at a promised precision.

    python -m tests.benchmarks.areas [--data ../shared/data] [--classes Forest,SeaLake]
        [--draws 5] [--work FOLDER] [--picture FILE] [--json FILE]

Two scenes are laid of EuroSAT RGB tiles, every class in patches and with the same share: one from
tiles of one half of the places (blocks of 20 km), on which a concept is taught by 1 + 128 simulated
marks and calibrated with all labels, and one from the other half, which is mapped. Of the
invented coast, three landscapes teach and another is mapped, in tiles of 64 px that overlap by
three quarters; there, the truth is the ground by pixel, and a tile is right if half of it or more
is of its kind. Each draw divides the places again, and takes other landscapes and another first
mark. Errors are of the total area, in percent, of the map and of the estimate; found and right are
shares of the true and the mapped area. The interval of the estimate is for the places that the
labels stand for; the places that are mapped are others, and a sample too, so that it covers their
area less often than nine of ten times. A second table sums up: how many of all kinds and draws
have an error below 10 %; what cannot be promised counts as not.
"""

import argparse
import csv
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import rasterio
import rasterio.features
import shapely
from affine import Affine
from PIL import Image
from pyproj import Transformer

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.concepts.area_table import Areas
from geohash_rs.concepts.areas import areas_of
from geohash_rs.concepts.cells import grids_of
from geohash_rs.concepts.learning import Model, fit_model
from geohash_rs.concepts.outlines import grid_outlines, lonlat_outlines
from geohash_rs.concepts.suggestions import choose, num_candidates
from geohash_rs.demo.landscape import Cover, Landscape
from geohash_rs.demo.scenes import PLACES, write_scenes
from geohash_rs.errors import CalibrationError
from geohash_rs.footprints.ground import square_km
from geohash_rs.hashing.data.blocks import block_numbers
from geohash_rs.trust.promise import Promise, promise_of
from geohash_rs.trust.total_ratio import ratio_of

HASHER = "general-64"
TILE = 64
SIDE = 68  # tiles of a mosaic's side
BLOCK_KM, COAST_BLOCK_KM = 20.0, 1.0
LANDSCAPES, TEACHING = tuple(range(10, 16)), 3  # of the coast, of which so many teach
ROUNDS, ASKED = 16, 8
PRECISIONS = (0.7, 0.8, 0.9)
COVERS = (Cover.SEA, Cover.FOREST, Cover.FIELDS, Cover.TOWN)
TAUGHT, MAPPED = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One archive with the kind of ground of each tile: that which teaches, or that to be mapped.

    Attributes:
        archive: The archive.
        ids: Its tiles, shape (tiles,).
        codes: Their codes, uint8, shape (tiles, bytes).
        kinds: The share of each tile that is of each kind, by name, shape (tiles,).
        blocks: Block of ground of each tile, shape (tiles,).
        truth: Outlines of each kind in longitude and latitude, by name.
    """

    archive: Archive
    ids: np.ndarray
    codes: np.ndarray
    kinds: dict[str, np.ndarray]
    blocks: np.ndarray
    truth: dict[str, np.ndarray]


# --- EuroSAT ---


def eurosat_tiles(data: Path, seed: int) -> dict[int, dict[str, list[tuple[Path, int]]]]:
    """Divide tiles by blocks of ground: of each half and class, paths and blocks."""
    with (data / "eurosat_rgb" / "locations.csv").open() as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (data / "eurosat_rgb" / row["filepath"]).is_file()
        ]
    points = shapely.points([[float(row["longitude"]), float(row["latitude"])] for row in rows])
    blocks = block_numbers(np.asarray(points), block_km=BLOCK_KM)
    half = np.random.default_rng(seed).permutation(int(blocks.max()) + 1) % 2
    found: dict[int, dict[str, list[tuple[Path, int]]]] = {TAUGHT: {}, MAPPED: {}}
    for row, block in zip(rows, blocks.tolist(), strict=True):
        mine = found[int(half[block])].setdefault(row["class"], [])
        mine.append((data / "eurosat_rgb" / row["filepath"], block))
    return found


def patches(names: list[str], seed: int) -> np.ndarray:
    """Lay classes in patches of equal share: the number of a class, shape (SIDE, SIDE)."""
    rng = np.random.default_rng(seed)
    wave = np.fft.fftfreq(SIDE)
    calm = np.exp(-(wave[:, None] ** 2 + wave[None] ** 2) * 400)
    noise = rng.normal(size=(len(names), SIDE, SIDE))
    fields = np.fft.ifft2(np.fft.fft2(noise) * calm).real
    fields /= fields.std(axis=(1, 2), keepdims=True)
    for _ in range(300):  # raise what has too little
        laid = np.argmax(fields, axis=0)
        shares = np.bincount(laid.ravel(), minlength=len(names)) / laid.size
        fields += 0.1 * (1 - shares * len(names))[:, None, None]
    return laid


def mosaic_side(
    folder: Path,
    tiles: dict[str, list[tuple[Path, int]]],
    seed: int,
    hasher: Hasher | str,
) -> Side:
    """Write and index a mosaic."""
    names = sorted(tiles)
    laid = patches(names, seed)
    rng = np.random.default_rng(seed)
    image = np.zeros((3, SIDE * TILE, SIDE * TILE), np.uint8)
    blocks = np.zeros(laid.shape, int)
    for number, name in enumerate(names):
        places = np.argwhere(laid == number)
        order = rng.permutation(len(tiles[name]))  # a tile is laid again only if there are too few
        for place, pick in zip(places, np.resize(order, len(places)), strict=True):
            path, block = tiles[name][pick]
            y, x = place * TILE
            image[:, y : y + TILE, x : x + TILE] = np.moveaxis(np.asarray(Image.open(path)), -1, 0)
            blocks[tuple(place)] = block
    path = folder / "scenes" / "mosaic_20230601.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    profile |= {"width": image.shape[2], "height": image.shape[1], "compress": "deflate"}
    with rasterio.open(path, "w", transform=Affine(10, 0, 4e5, 0, -10, 5.6e6), **profile) as file:
        file.write(image)
    archive, ids, frame = indexed(folder, hasher, stride=TILE)
    cells = (frame["row"].to_numpy() // TILE, frame["col"].to_numpy() // TILE)
    (grid,) = grids_of(archive.scenes()[0])
    truth = {}
    for number, name in enumerate(names):
        down, across = np.nonzero(laid == number)
        truth[name] = lonlat_outlines(grid_outlines(grid, across, down), grid)
    return Side(
        archive=archive,
        ids=ids,
        codes=archive.codes(ids),
        kinds={name: (laid[cells] == number).astype(float) for number, name in enumerate(names)},
        blocks=blocks[cells],
        truth=truth,
    )


# --- the coast ---


def coast_side(folder: Path, seed: int, hasher: Hasher | str) -> Side:
    """Write and index the coast of one spring."""
    if not (folder / "scenes").exists():
        for path in write_scenes(folder / "scenes", seed=seed):
            if "_20230514" not in path.name:
                path.unlink()
    archive, ids, frame = indexed(folder, hasher, stride=TILE // 4)
    kinds = {kind.name.lower(): np.zeros(len(frame)) for kind in COVERS}
    truth: dict[str, list[np.ndarray]] = {name: [] for name in kinds}
    for place in PLACES:
        cover = place.surface(Landscape(seed=seed)).cover
        mine = np.flatnonzero(frame["scene"].str.contains(f"_{place.name}_"))
        to_lonlat = Transformer.from_crs(place.epsg, 4326, always_xy=True)
        for kind in COVERS:
            here = cover == kind
            sums = np.pad(here.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
            col, row = (frame[name].to_numpy()[mine].astype(int) for name in ("col", "row"))
            inside = sums[row + TILE, col + TILE] - sums[row, col + TILE]
            inside = inside - sums[row + TILE, col] + sums[row, col]
            kinds[kind.name.lower()][mine] = inside / TILE**2
            shapes = [
                shapely.geometry.shape(shape)
                for shape, _ in rasterio.features.shapes(
                    here.view(np.uint8), mask=here, transform=place.transform
                )
            ]
            truth[kind.name.lower()].append(
                shapely.transform(
                    np.array(shapes, dtype=object),
                    lambda xy, to=to_lonlat: np.column_stack(to.transform(*xy.T)),
                )
            )
    return Side(
        archive=archive,
        ids=ids,
        codes=archive.codes(ids),
        kinds=kinds,
        blocks=block_numbers(np.asarray(frame.geometry.array), block_km=COAST_BLOCK_KM),
        truth={name: np.concatenate(parts) for name, parts in truth.items()},
    )


def together(sides: list[Side]) -> Side:
    """Join the labelled tiles of landscapes, which are other ground."""
    first = sides[0]
    blocks = [one.blocks + 10_000 * number for number, one in enumerate(sides)]
    return dataclasses.replace(
        first,
        codes=np.concatenate([one.codes for one in sides]),
        kinds={name: np.concatenate([one.kinds[name] for one in sides]) for name in first.kinds},
        blocks=np.concatenate(blocks),
    )


# --- both ---


def indexed(
    folder: Path, hasher: Hasher | str, *, stride: int
) -> tuple[Archive, np.ndarray, gpd.GeoDataFrame]:
    """Index a folder of scenes: archive, ids and tiles."""
    if (folder / "archive").exists():
        archive = Archive.open(folder / "archive", mode="r")
    else:
        archive = Archive.create(folder / "archive", hasher=hasher)
        archive.add(Scenes(folder / "scenes"), tile_size=TILE, stride=stride)
    ids = np.sort(pa.table(archive.to_table(["tile_id"]))["tile_id"].to_numpy())
    return archive, ids, archive.tiles(ids)


def teach(codes: np.ndarray, truth: np.ndarray, *, seed: int) -> tuple[Model, np.ndarray]:
    """Mark a tile that is right, then what is suggested, in rounds: the model and the marks."""
    rng = np.random.default_rng(seed)
    marked = np.zeros(len(codes), bool)
    marked[rng.choice(np.flatnonzero(truth))] = True
    for _ in range(ROUNDS):
        right, wrong = codes[marked & truth], codes[marked & ~truth]
        model = fit_model(right, wrong, codes)
        costs = model.weights.costs(codes)
        best = np.argsort(costs, kind="stable")
        best = best[~marked[best]][: num_candidates(ASKED)]
        rows = choose(codes[best], costs[best], model, right, wrong, k=ASKED)
        marked[best[rows]] = True
    return fit_model(codes[marked & truth], codes[marked & ~truth], codes), marked


def mapped(side: Side, model: Model, promise: Promise, precision: float) -> Areas | None:
    """Map a side at a promised precision; None if nothing can be promised."""
    costs = model.weights.costs(side.codes)
    try:
        most = promise.limit(precision)
    except CalibrationError:
        return None
    chosen = np.flatnonzero(costs <= most)
    return areas_of(
        side.archive,
        side.ids[chosen],
        costs[chosen].astype(np.int32),
        model=model,
        promise=promise,
        dates="merged",
        min_area_km2=0.0,
        by=None,
        by_column=None,
        by_layer=None,
        tile_sizes=None,
    )


def measure(
    data: str, taught: Side, side: Side, name: str, *, seed: int
) -> tuple[list[dict[str, object]], dict[float, Areas]]:
    """Teach, calibrate and map one kind of ground: a row and a map of each precision."""
    is_right = taught.kinds[name] >= 0.5
    model, marked = teach(taught.codes, is_right, seed=seed)
    costs = model.weights.costs(taught.codes)
    known = promise_of(costs[~marked], is_right[~marked], taught.blocks[~marked], delta=0.1)
    totals = ratio_of(costs, is_right, taught.blocks, thresholds=known.values, delta=0.1)
    promise = dataclasses.replace(known, totals=totals)
    true = shapely.union_all(side.truth[name])
    (true_km2,) = square_km(np.array([true], dtype=object))
    rows, maps = [], {}
    for precision in PRECISIONS:
        row: dict[str, object] = {"data": data, "kind": name, "draw": seed, "promised": precision}
        areas = mapped(side, model, promise, precision)
        if areas is None or areas.empty:
            rows.append({**row, "true_km2": true_km2, "error_%": None, "estimate_%": None})
            continue
        maps[precision] = areas
        whole = shapely.union_all(areas.geometry)
        both = square_km(np.array([shapely.intersection(whole, true)], dtype=object))[0]
        found = areas["area_km2"].sum()
        rows.append(
            {
                **row,
                "true_km2": true_km2,
                "mapped_km2": found,
                "error_%": 100 * (found / true_km2 - 1),
                "right": both / found,
                "found": both / true_km2,
                **estimated(areas, true_km2),
            }
        )
    return rows, maps


def estimated(areas: Areas, true_km2: float) -> dict[str, object]:
    """Compare the estimate of the total with the truth."""
    if areas.estimate is None:
        return {"estimate_%": None, "covered": None}
    total, low, high, _ = areas.estimate
    return {
        "estimate_%": 100 * (total / true_km2 - 1),
        "low_%": 100 * (low / true_km2 - 1),
        "high_%": 100 * (high / true_km2 - 1),
        "covered": low <= true_km2 <= high,
    }


def summed(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Count, for each precision, how many of the kinds and draws have a small error."""
    table = pd.DataFrame(rows).astype({"error_%": float, "estimate_%": float})
    found = []
    for precision, mine in table.groupby("promised"):
        known = mine.dropna(subset=["error_%"])
        guessed = mine.dropna(subset=["estimate_%"])
        found.append(
            {
                "precision": precision,
                "cases": len(mine),
                "promised_%": 100 * len(known) / len(mine),
                "map<10_%": 100 * (mine["error_%"].abs() < 10).mean(),
                "estimate<10_%": 100 * (mine["estimate_%"].abs() < 10).mean(),
                "map_median_%": known["error_%"].abs().median(),
                "estimate_median_%": guessed["estimate_%"].abs().median(),
                "covered_%": 100 * guessed["covered"].astype(float).mean(),
            }
        )
    return pd.DataFrame(found)


def sides(data: Path, work: Path, number: int) -> Iterator[tuple[str, Side, Side]]:
    """Yield the sets of a draw: name, what teaches and what is mapped."""
    tiles = eurosat_tiles(data, number)
    # hashers are fitted on what teaches, as for any later scene
    taught = mosaic_side(work / f"m{2 * number}", tiles[TAUGHT], 2 * number, HASHER)
    hasher = taught.archive.hasher()
    yield (
        "EuroSAT",
        taught,
        mosaic_side(work / f"m{2 * number + 1}", tiles[MAPPED], 2 * number + 1, hasher),
    )
    coasts = [coast_side(work / f"coast{LANDSCAPES[0]}", LANDSCAPES[0], HASHER)]
    hasher = coasts[0].archive.hasher()
    coasts += [coast_side(work / f"coast{n}", n, hasher) for n in LANDSCAPES[1:]]
    turned = coasts[number:] + coasts[:number]
    yield "coast", together(turned[:TEACHING]), turned[TEACHING]


def draw(pictures: list[tuple[str, Side, str, dict[float, Areas]]], path: Path) -> None:
    """Draw the truth next to the maps of each precision, one row for each kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * (1 + len(PRECISIONS)), 3.4 * len(pictures)), layout="constrained")
    axes = figure.subplots(len(pictures), 1 + len(PRECISIONS), squeeze=False)
    for line, (data, side, name, maps) in zip(axes, pictures, strict=True):
        truth = gpd.GeoSeries(side.truth[name], crs=4326)
        total = square_km(np.asarray(truth.array, dtype=object)).sum()
        outlines = gpd.GeoSeries(
            [shapely.box(*side.archive.tiles(side.ids).total_bounds)], crs=4326
        )
        panels = [(f"{data}: {name}, truth\n{total:,.1f} km²", truth, "#1b7837")]
        for precision in PRECISIONS:
            areas = maps.get(precision)
            text = f"promised {precision:.0%}\n"
            if areas is None:
                panels.append((text + "cannot be promised", truth.iloc[:0], "k"))
                continue
            found = areas["area_km2"].sum()
            text += f"{found:,.1f} km² ({100 * (found / total - 1):+.1f} %)"
            panels.append((text, areas.geometry, "#c3174b"))
        for axis, (text, shapes, colour) in zip(line, panels, strict=True):
            outlines.boundary.plot(ax=axis, color="0.6", linewidth=0.8)
            if colour == "#c3174b":
                truth.plot(ax=axis, color="#1b7837", alpha=0.35)
            if len(shapes):
                shapes.plot(ax=axis, color=colour, alpha=0.6, edgecolor=colour, linewidth=0.6)
            axis.set_title(text, fontsize=10)
            axis.set_axis_off()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--classes", help="EuroSAT classes, comma-separated; all if left out")
    parser.add_argument("--draws", type=int, default=5, help="at most 6")
    parser.add_argument("--draw", default="Forest,Residential,forest,sea", help="kinds to draw")
    parser.add_argument("--work", type=Path, help="folder that keeps scenes and archives")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    rows, pictures = [], []
    with tempfile.TemporaryDirectory() as folder:
        for draw_number in range(asked.draws):
            for data, taught, side in sides(asked.data, asked.work or Path(folder), draw_number):
                names = asked.classes.split(",") if asked.classes else sorted(side.kinds)
                for name in [name for name in names if name in side.kinds]:
                    measured, maps = measure(data, taught, side, name, seed=draw_number)
                    rows += measured
                    if draw_number == 0 and name in asked.draw.split(","):
                        pictures.append((data, side, name, maps))
        if asked.picture:
            draw(pictures, asked.picture)
    table = pd.DataFrame(rows)
    for frame in (table, summed(rows)):
        print(frame.to_string(index=False, na_rep="-", float_format="{:.3g}".format), "\n")
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1, default=float))


if __name__ == "__main__":
    main()
