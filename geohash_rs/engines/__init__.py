"""Beyond one machine: the same archive on a cluster (`ray`) or in a database (`postgis`).

Neither engine is imported, nor what it needs, unless its own module is.
"""
