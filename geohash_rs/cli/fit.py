"""``geohash-rs fit``, ``validate`` and ``test``: TorchGeo's Lightning command line."""

import click

__all__ = ["fit_command", "test_command", "validate_command"]


def _make(name: str) -> click.Command:
    @click.command(
        name,
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        help="Run Lightning's command line; options as in 'torchgeo " + name + " --help'.",
    )
    @click.argument("options", nargs=-1, type=click.UNPROCESSED)
    def command(options: tuple[str, ...]) -> None:
        from geohash_rs.hashing.lightning_cli import run_lightning_cli

        run_lightning_cli([name, *options])

    return command


fit_command = _make("fit")
validate_command = _make("validate")
test_command = _make("test")
