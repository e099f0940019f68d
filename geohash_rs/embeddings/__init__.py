"""Vectors that somebody else computed: tables and arrays of them go into an archive."""
