"""``geohash-rs push`` and ``pull``: an archive in object storage."""

from pathlib import Path

import click

from geohash_rs.cli.options import echo_json
from geohash_rs.cli.terminal import echo

__all__ = ["pull_command", "push_command"]


@click.command("push")
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("url", metavar="s3://BUCKET/NAME")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def push_command(archive: Path, url: str, as_json: bool) -> None:
    """Update an archive in object storage to the state of ARCHIVE. Only new files are sent.

    URL can be any address that fsspec supports. Credentials are found where the provider's own
    tools look for them, such as AWS_PROFILE. AWS_ENDPOINT_URL sets an S3 server other than Amazon's.
    """
    from geohash_rs.engines.cloud.sync import push
    from geohash_rs.store.disk.manifest_file import read_manifest

    sent = push(archive, url, progress=not as_json)
    tiles = read_manifest(archive).num_tiles
    if as_json:
        echo_json({"archive": str(archive), "url": url, "files_sent": sent, "tiles": tiles})
        return
    echo(f"{sent} files sent; {url} holds {tiles} tiles.")


@click.command("pull")
@click.argument("url", metavar="s3://BUCKET/NAME")
@click.argument("archive", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def pull_command(url: str, archive: Path, as_json: bool) -> None:
    """Update a folder ARCHIVE, new or pulled before, to the state of an archive in object storage.

    Only files that the folder lacks are fetched. You can add scenes to it and push it again. To
    search without a folder, pass the URL to 'geohash-rs query'.
    """
    from geohash_rs.engines.cloud.sync import pull
    from geohash_rs.store.disk.manifest_file import read_manifest

    pull(url, archive, progress=not as_json)
    tiles = read_manifest(archive).num_tiles
    if as_json:
        echo_json({"archive": str(archive), "url": url, "tiles": tiles})
        return
    echo(f"{archive} holds {tiles} tiles, the same as {url}.")
