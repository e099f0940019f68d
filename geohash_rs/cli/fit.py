"""``geohash-rs fit``, ``validate`` and ``test``: TorchGeo's Lightning command line."""

import shlex

import click

from geohash_rs.cli.terminal import echo

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

        fitted = run_lightning_cli([name, *options])
        if fitted is None:
            return
        lines = [f"The hasher, of {fitted.epoch}, is in {fitted.hasher}; index with it:", f"  geohash-rs index SCENES --archive ARCHIVE --hasher {shlex.quote(str(fitted.hasher))}"]
        if fitted.checkpoint is not None:
            lines.append(f"The checkpoint is in {fitted.checkpoint}; --ckpt_path with it resumes or measures.")
        echo(*lines)

    return command


fit_command = _make("fit")
validate_command = _make("validate")
test_command = _make("test")
