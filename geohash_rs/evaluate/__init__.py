"""Measure how well hashers find tiles of the same class, by protocols that can be trusted."""

from geohash_rs.evaluate.protocols import PROTOCOLS, Trial, make_trials
from geohash_rs.evaluate.report import summary_table, write_plots
from geohash_rs.evaluate.run import METHODS, evaluate

__all__ = [
    "METHODS",
    "PROTOCOLS",
    "Trial",
    "evaluate",
    "make_trials",
    "summary_table",
    "write_plots",
]
