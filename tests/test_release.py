"""What a release says of itself: one version, one address, and no file that nobody expects."""

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import geohash_rs

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WEIGHTS = ROOT / "geohash_rs" / "hashing" / "weights"
LARGE = 100_000  # bytes


def test_the_version_stands_in_one_place_and_is_copied_right():
    assert "version" not in PROJECT["project"]
    assert "version" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "geohash_rs/__init__.py"
    assert CITATION["version"] == geohash_rs.__version__
    newest = re.search(r"^## \[(\d.*?)\] - (\S+)$", CHANGELOG, re.MULTILINE)
    assert newest is not None
    assert newest[1] == geohash_rs.__version__
    assert date.fromisoformat(newest[2]) == CITATION["date-released"]


def test_the_changelog_lists_versions_from_new_to_old():
    found = re.findall(r"^## \[(\d+)\.(\d+)\.(\d+)\]", CHANGELOG, re.MULTILINE)
    numbers = [tuple(map(int, one)) for one in found]
    assert numbers == sorted(set(numbers), reverse=True)
    assert numbers[-1] == (0, 1, 0)


def test_the_command_prints_the_version():
    done = subprocess.run(
        [sys.executable, "-m", "geohash_rs", "--version"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == f"geohash-rs, version {geohash_rs.__version__}\n"


def test_every_address_but_that_of_the_pages_is_below_the_repositorys():
    addresses = PROJECT["project"]["urls"]
    assert set(addresses) == {"Repository", "Documentation", "Changelog", "Issues"}
    pages = addresses.pop("Documentation")  # may be elsewhere
    assert pages.startswith("https://")
    assert all(one.startswith(addresses["Repository"]) for one in addresses.values())


def test_links_of_the_readme_are_absolute_in_the_package():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for rule in hook["substitutions"]:
        readme = re.sub(rule["pattern"], rule["replacement"], readme)
    shown = re.findall(r"\]\((.+?)\)", readme)
    repository = re.escape(PROJECT["project"]["urls"]["Repository"])
    within = [re.fullmatch(rf"{repository}/(blob|raw)/main/(.+)", link) for link in shown]
    paths = {kind: {one[2] for one in within if one and one[1] == kind} for kind in ("blob", "raw")}
    assert {"docs/start/tutorial.md", "LICENSE"} <= paths["blob"]
    assert paths["raw"] == set(re.findall(r"!\[.*?\]\(.*/main/(.+?)\)", readme)) != set()
    assert [path for path in paths["blob"] | paths["raw"] if not (ROOT / path).exists()] == []
    assert [link for link in shown if not link.startswith("https://")] == []


def test_only_the_weights_are_large():
    files = [path for path in (ROOT / "geohash_rs").rglob("*") if path.is_file()]
    files = [path for path in files if "__pycache__" not in path.parts]
    large = {path.name for path in files if path.stat().st_size > LARGE}
    assert large == {path.name for path in WEIGHTS.glob("*.safetensors")}
    size = sum(path.stat().st_size for path in files)
    assert size < 12_000_000  # a wheel, which packs all but the weights, has 8 MB


def test_the_weights_readme_names_every_file_with_its_size():
    rows = re.findall(
        r"^\| `(.+?)` \| ([\d,]+) \|", (WEIGHTS / "README.md").read_text(), re.MULTILINE
    )
    told = {name: int(size.replace(",", "")) for name, size in rows}
    assert told == {path.name: path.stat().st_size for path in WEIGHTS.glob("*.safetensors")}


def test_a_release_is_refused_until_the_address_is_set_and_for_another_tag():
    for tag, words in (("v9.9.9", "the tag is v9.9.9 but"), (f"v{geohash_rs.__version__}", "")):
        if not words and "example.org" not in PROJECT["project"]["urls"]["Repository"]:
            continue  # the address has been set, so this tag may be released
        done = subprocess.run(
            ["bash", ".ci/release", tag], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 1
        assert (words or "set the repository's address in pyproject.toml") in done.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_steps_of_the_check_with_pinned_actions(path):
    text = path.read_text(encoding="utf-8")
    used = re.findall(r"uses: (?!\./)(.+)", text)
    within = re.findall(r"uses: \./(\S+)", text)
    assert [one for one in within if not (ROOT / one).exists()] == []
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)
    jobs = yaml.safe_load(text)["jobs"]
    runs = [step["run"] for job in jobs.values() for step in job.get("steps", ()) if "run" in step]
    assert any(run.startswith((".ci/run ", ".ci/release")) for run in runs)
    assert not any(word in run for run in runs for word in ("ruff", "mypy", "sphinx", "pytest"))


def test_issue_forms_ask_for_the_doctor():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("[0-9]*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked = {part["id"]: part["attributes"]["label"] for part in form["body"]}
        assert asked["doctor"] == "What does `geohash-rs doctor` print?"
