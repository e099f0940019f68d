"""Fit a head without labels: ITQ, whitening, baselines, and hashers known by name."""
