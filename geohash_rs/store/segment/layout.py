"""Constants and file names of a segment's layout."""

__all__ = ["BLOCK", "CODES", "INDEX", "MARGIN", "MAX_ROWS", "STEPS", "TILES"]

BLOCK = 4096  # rows that share a box and a time range
MAX_ROWS = 1 << 21  # rows per segment, to limit the memory needed to write one
CODES, INDEX, TILES = "codes.bin", "index.safetensors", "tiles.parquet"
STEPS = 65535  # a row's box is stored in units of 1/65535 of its block's box
MARGIN = 1e-9  # degrees added around a block's box: 0.1 mm, far above rounding errors
