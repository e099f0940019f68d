"""Choose what the pictures of an evaluation show: queries with matches, and a projection."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.evaluate.measures import Ranker, label_gains
from geohash_rs.evaluate.protocols import LabelledTiles, Trial

__all__ = ["picture_data", "project"]

COLUMNS = 10  # matches per query
ROWS = 8  # queries
MOST_POINTS = 2000  # in the projection

Floats = npt.NDArray[np.float64]


def picture_data(ranker: Ranker, tiles: LabelledTiles, trial: Trial) -> dict[str, Any]:
    """Choose queries, find their matches, and project the archive's activations to a plane.

    Half of the queries are those with the most wrong matches, each from a different class; the
    rest are spread over the other classes.

    Args:
        ranker: Ranks the tiles.
        tiles: The tiles.
        trial: Queries and archive.

    Returns:
        "matches": path and class of each query, and of its matches with their distances and
        whether they are right; "projection": method, x, y and class. All JSON values.
    """
    distances = ranker.distances(trial)
    gains = label_gains(tiles.labels[trial.queries], tiles.labels[trial.searched])
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :COLUMNS]
    right = np.take_along_axis(gains, nearest, axis=1) > 0
    shown = _choose(tiles, trial, wrong=(~right).sum(1))
    matches = [
        {
            **_tile(tiles, int(trial.queries[row])),
            "matches": [
                _tile(tiles, int(trial.searched[column]))
                | {"distance": float(distances[row, column]), "right": bool(gains[row, column])}
                for column in nearest[row]
                if np.isfinite(distances[row, column])
            ],
        }
        for row in shown
    ]
    step = -(-len(trial.searched) // MOST_POINTS)
    rows = trial.searched[::step]
    method, points = project(ranker.vectors(rows).astype(np.float64))
    projection = {
        "method": method,
        "x": points[:, 0].round(3).tolist(),
        "y": points[:, 1].round(3).tolist(),
        "class": [_name(tiles, int(row)) for row in rows],
    }
    return {"matches": matches, "projection": projection}


def project(vectors: Floats) -> tuple[str, Floats]:
    """Project vectors to a plane: by t-SNE with scikit-learn, otherwise on principal axes.

    Args:
        vectors: Shape (tiles, dimensions).

    Returns:
        Name of the method, and coordinates, shape (tiles, 2).
    """
    if find_spec("sklearn") is not None and len(vectors) > 100:
        from sklearn.manifold import TSNE

        placed = TSNE(init="pca", perplexity=30, random_state=0).fit_transform(vectors)
        return "t-SNE", np.asarray(placed, dtype=np.float64)
    centred = vectors - vectors.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    return "principal components", centred @ axes.T


def _choose(tiles: LabelledTiles, trial: Trial, *, wrong: npt.NDArray[np.int64]) -> list[int]:
    """Return the worst query of the worst classes, and the first query of some others."""
    names = np.array([_name(tiles, int(row)) for row in trial.queries])
    worst: list[int] = []
    for row in np.argsort(-wrong, kind="stable"):
        if names[row] not in names[worst] and len(worst) < ROWS // 2:
            worst.append(int(row))
    others = [name for name in dict.fromkeys(names) if name not in names[worst]]
    step = max(1, len(others) // (ROWS - len(worst)))
    firsts = [int(np.flatnonzero(names == name)[0]) for name in others[::step]]
    return (firsts[: ROWS - len(worst)] + worst)[:ROWS]


def _tile(tiles: LabelledTiles, row: int) -> dict[str, Any]:
    return {"path": str(tiles.paths[row].relative_to(tiles.root)), "class": _name(tiles, row)}


def _name(tiles: LabelledTiles, row: int) -> str:
    label = tiles.labels[row]
    if label.ndim == 0:
        return tiles.classes[int(label)]
    return ", ".join(tiles.classes[i] for i in np.flatnonzero(label))
