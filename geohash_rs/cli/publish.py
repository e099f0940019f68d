"""``geohash-rs publish``: copy an archive to PostGIS."""

from pathlib import Path

import click

from geohash_rs.cli.options import echo_json
from geohash_rs.cli.terminal import echo

__all__ = ["publish_command"]


@click.command("publish")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("dsn", metavar="postgresql://USER@HOST/DATABASE")
@click.option("--schema", default="public", show_default=True, help="Schema of the tables; it must exist.")
@click.option("--table", default="geohash_tiles", show_default=True, help="Table of the tiles; created if it does not exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def publish_command(archive: Path, dsn: str, schema: str, table: str, as_json: bool) -> None:
    """Update a table in PostGIS to the state of ARCHIVE. Only changes are sent.

    Keep the password out of the address: libpq finds it in PGPASSWORD or ~/.pgpass.
    """
    from dataclasses import asdict

    from geohash_rs.archive import Archive
    from geohash_rs.engines.postgis.publication import publish

    report = publish(Archive.open(archive), dsn, schema=schema, table=table, progress=not as_json)
    if as_json:
        echo_json(asdict(report))
        return
    moved = f"{report.num_renamed} relocated, " if report.num_renamed else ""
    echo(
        f"{moved}{report.num_added} tiles added and {report.num_removed} removed in "
        f"{report.num_transactions} transactions; {schema}.{table} holds {report.num_tiles} tiles."
    )
