"""Run the command line with ``python -m geohash_rs``."""

from geohash_rs.cli import main

if __name__ == "__main__":
    main()
