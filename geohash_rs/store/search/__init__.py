"""Exact Hamming search: filters drop blocks and rows, a kernel scans the rest."""
