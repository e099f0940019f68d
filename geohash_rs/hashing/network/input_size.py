"""The side of the network's input for tiles of a size."""

from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.folded import fits_integers

__all__ = ["choose_input_size"]

# Largest side of a tile, px, and the side that the network then sees, both as measured by
# tests/benchmarks/looking.py; larger tiles were not measured
SIDES = ((96, 128), (256, 160))


def choose_input_size(backbone: Backbone, *, tile_size: int) -> int:
    """Choose the side of the network's input.

    Args:
        backbone: The network. An EfficientNet-Lite may see less than it was trained with, others
            may need that size.
        tile_size: Side of a tile, px.

    Returns:
        Side of the input, px.
    """
    if not fits_integers(backbone):
        return backbone.input_size
    sides = (side for largest, side in SIDES if tile_size <= largest)
    return min(next(sides, backbone.input_size), backbone.input_size)
