"""Imagery into an archive: plan, sample, read, hash, commit."""
