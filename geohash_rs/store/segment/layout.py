"""Constants and file names of a segment's layout."""

__all__ = [
    "BLOCK",
    "CODES",
    "ID_BITS",
    "INDEX",
    "MARGIN",
    "MAX_ROWS",
    "MOST_FOOTPRINT",
    "MOST_NUMBERS",
    "MOST_SOURCE",
    "MOST_TEXT",
    "STEPS",
    "TILES",
    "VECTORS",
]

BLOCK = 4096  # rows that share a box and a time range
ID_BITS = 47  # of a tile id; a search packs it into 64 bits with a distance or a cost
MAX_ROWS = 1 << 21  # rows per segment, to limit the memory needed to write one
CODES, INDEX, TILES = "codes.bin", "index.safetensors", "tiles.parquet"
VECTORS = "vectors.bin"  # only if the archive keeps vectors
STEPS = 65535  # a row's box is stored in units of 1/65535 of its block's box
MOST_TEXT = 65_536  # bytes of a scene's name or a label, which many rows may share
MOST_SOURCE = 8192  # bytes of a source, which every row may have of its own; no URL is longer
MOST_FOOTPRINT = 1 << 20  # bytes; 65,000 corners
MOST_NUMBERS = 65_536  # of a vector; networks make up to a few thousand
MARGIN = 1e-9  # degrees added around a block's box: 0.1 mm, far above rounding errors
