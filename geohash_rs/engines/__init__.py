"""Archives beyond one machine: a cluster (`ray`), a database (`postgis`), object storage (`cloud`).

An engine and its dependencies are imported only with its own module.
"""
