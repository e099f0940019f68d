"""Measure how well hashers find tiles of the same class, by protocols that can be trusted."""

from geohash_rs.evaluate.features import Features, make_features
from geohash_rs.evaluate.measures import measure_head
from geohash_rs.evaluate.plots import write_plots
from geohash_rs.evaluate.protocols import PROTOCOLS, LabelledTiles, Trial, make_trials
from geohash_rs.evaluate.report import summary_table
from geohash_rs.evaluate.run import METHODS, evaluate
from geohash_rs.evaluate.tiles import open_tiles

__all__ = [
    "METHODS",
    "PROTOCOLS",
    "Features",
    "LabelledTiles",
    "Trial",
    "evaluate",
    "make_features",
    "make_trials",
    "measure_head",
    "open_tiles",
    "summary_table",
    "write_plots",
]
