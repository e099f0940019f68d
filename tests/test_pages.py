"""Pages: every command that they show exists with its options, and every link leads somewhere."""

import ast
import builtins
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from geohash_rs.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts),
]
LIGHTNING = {"fit", "validate", "test"}  # their options are Lightning's


def commands(text: str) -> Iterator[list[str]]:
    """Take the words of each `geohash-rs` command out of the shell blocks of a page."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", line):
                words = shlex.split(part, comments=True)
                if words[:1] == ["geohash-rs"]:
                    yield words[1:]


def wrong_with(words: list[str]) -> str:
    """Return what is wrong with a command, or an empty string."""
    name = words[0]
    command = app.get_command(click.Context(app), name)
    if command is None:
        return f"there is no command {name}"
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    used = [re.split("=", word)[0] for word in words[1:] if re.match(r"--?[a-z]", word)]
    unknown = [] if name in LIGHTNING else [option for option in used if option not in known]
    return f"{name} has no {', '.join(unknown)}" if unknown else ""


def undefined_names(text: str) -> set[str]:
    """List the names that the Python blocks of a page use, in order, without defining them."""
    defined, missing = set(dir(builtins)), set()
    for block in re.findall(r"^```(?:python|\{testcode\})\n(.*?)^```", text, re.M | re.S):
        nodes = list(ast.walk(ast.parse(block)))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                defined |= {(one.asname or one.name).partition(".")[0] for one in node.names}
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.arg):
                defined.add(node.arg)
        names = [node for node in nodes if isinstance(node, ast.Name)]
        defined |= {one.id for one in names if isinstance(one.ctx, ast.Store)}
        missing |= {one.id for one in names} - defined
    return missing


def links(page: Path) -> Iterator[str]:
    """List what a page links to within the repository."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_a_page_exist_with_their_options(page):
    found = [wrong_with(words) for words in commands(page.read_text(encoding="utf-8"))]
    assert [one for one in found if one] == []


def test_the_check_of_commands_finds_what_does_not_exist():
    page = "```sh\ngeohash-rs index a --archive b --nothing && geohash-rs find\n```\n"
    assert [wrong_with(words) for words in commands(page)] == [
        "index has no --nothing",
        "there is no command find",
    ]
    assert sum(len(list(commands(page.read_text("utf-8")))) for page in PAGES) > 40


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_of_a_page_define_what_they_use(page):
    assert undefined_names(page.read_text(encoding="utf-8")) == set()


def test_the_check_of_snippets_finds_a_missing_import():
    page = "```python\nimport a.b as c\nd = [c(e) for e in f]\n```\n"
    page += "```{testcode}\nprint(d, g)\n```\n"
    assert undefined_names(page) == {"f", "g"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files(page):
    assert [one for one in links(page) if not (page.parent / one).exists()] == []


def test_every_page_is_in_the_table_of_contents():
    listed = {
        entry
        for page in PAGES
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        for line in block.splitlines()
        for entry in [(page.parent / re.sub(r".*<(.*)>", r"\1", line)).with_suffix(".md")]
    }
    pages = {page for page in PAGES if DOCS in page.parents} - {DOCS / "index.md"}
    assert sorted(pages - listed) == []
