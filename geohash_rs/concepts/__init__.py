"""Concepts: what marks have taught, and the maps that follow from it."""
