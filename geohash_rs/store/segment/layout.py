"""Numbers and names that the files of a segment are laid out by."""

__all__ = ["BLOCK", "CODES", "INDEX", "MARGIN", "MAX_ROWS", "STEPS", "TILES"]

BLOCK = 4096  # rows that share a box and a time range
MAX_ROWS = 1 << 21  # rows of a segment, which bounds the memory of writing one
CODES, INDEX, TILES = "codes.bin", "index.safetensors", "tiles.parquet"
STEPS = 65535  # a row's box is kept in steps of this part of its block's box
MARGIN = 1e-9  # degrees added around a block's box, 0.1 mm, far above rounding errors
