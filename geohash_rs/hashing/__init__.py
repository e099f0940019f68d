"""Tiles to activations to codes: backbones, heads, and the ways to fit and train them."""

from geohash_rs.hashing.backbones import Backbone, load_backbone
from geohash_rs.hashing.files import describe_hasher, load_hasher, shipped_hashers
from geohash_rs.hashing.fitting import default_bands, fit_hasher, parse_training_free
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.heads import LinearHead, MiLaN
from geohash_rs.hashing.scaling import Scaling
from geohash_rs.hashing.unfitted import Unfitted, adapt_hasher

__all__ = [
    "Backbone",
    "Hasher",
    "LinearHead",
    "MiLaN",
    "Scaling",
    "Unfitted",
    "adapt_hasher",
    "default_bands",
    "describe_hasher",
    "fit_hasher",
    "load_backbone",
    "load_hasher",
    "parse_training_free",
    "shipped_hashers",
]
