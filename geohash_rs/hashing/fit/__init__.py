"""Fit a head: ITQ, whitening, from unlabelled scenes, baselines, and hashers by name."""
