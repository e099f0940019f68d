"""GeoTIFF scenes: files found and described, cut on a grid, read as tiles."""
