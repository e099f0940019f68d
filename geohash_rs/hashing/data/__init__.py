"""Labelled tiles to train and measure with: class folders, scenes with polygons, feature caches."""
