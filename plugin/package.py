"""Make the zip of the QGIS plugin, and check it by the rules of QGIS's plugin repository.

    python plugin/package.py            # writes dist/geohash_rs_qgis-VERSION.zip

https://plugins.qgis.org/docs/publish
"""

import argparse
import ast
import configparser
import io
import re
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NAME = "geohash_rs_qgis"
SCRIPTS = ROOT / "examples" / "qgis"  # they are also the plugin's Processing algorithms
REQUIRED = (
    "name", "description", "about", "version", "qgisMinimumVersion", "author", "email",
    "homepage", "tracker", "repository",
)  # fmt: skip
FLAGS = ("experimental", "deprecated", "supportsQt6")  # the repository reads "yes" as False
QT_6 = (4, 0)  # the first QGIS with Qt 6 alone, which goes by qgisMaximumVersion
CATEGORIES = ("Raster", "Vector", "Database", "Mesh", "Web")
ENDINGS = (".py", ".txt", ".svg", "")  # what the plugin consists of: text only
MOST_BYTES = 20 * 2**20
HIDDEN = ("__MACOSX", "__pycache__", ".git", ".DS_Store")
OF_QT = re.compile(r"PyQt\d|PySide\d")


def main() -> int:
    """Write the zip, print what is wrong with it, and return the exit code."""
    parser = argparse.ArgumentParser(description="Make and check the zip of the QGIS plugin.")
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / "dist", help="folder to write to"
    )
    folder: Path = parser.parse_args().output
    content = make_zip()
    problems = check(content)
    for problem in problems:
        print(f"package.py: {problem}", file=sys.stderr)
    if problems:
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    fields = metadata(filled((HERE / NAME / "metadata.txt").read_text("utf-8")))
    path = folder / f"{NAME}-{fields['version']}.zip"
    path.write_bytes(content)
    print(f"{path} ({len(content):,} bytes) follows the rules of the plugin repository.")
    return 0


def make_zip() -> bytes:
    """Return the zip; the same files always make the same bytes."""
    files = {
        f"{NAME}/{path.relative_to(HERE / NAME).as_posix()}": path.read_bytes()
        for path in (HERE / NAME).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{NAME}/metadata.txt"] = filled(files[f"{NAME}/metadata.txt"].decode("utf-8")).encode()
    files[f"{NAME}/LICENSE"] = (ROOT / "LICENSE").read_bytes()
    files[f"{NAME}/algorithms/__init__.py"] = b'"""The Processing algorithms."""\n'
    for path in SCRIPTS.glob("*.py"):
        files[f"{NAME}/algorithms/{path.name}"] = path.read_bytes()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return written.getvalue()


def filled(text: str) -> str:
    """Write the version and addresses of the package into a metadata.txt."""
    said = (ROOT / "geohash_rs" / "__init__.py").read_text("utf-8")
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    known = {
        "version": re.search(r'^__version__ = "(.+)"$', said, re.MULTILINE)[1],  # type: ignore[index]
        "homepage": urls["Documentation"],
        "tracker": urls["Issues"],
        "repository": urls["Repository"],
    }
    for name, value in known.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    return text


def metadata(text: str) -> dict[str, str]:
    """Return the fields of a metadata.txt; empty if it has no section [general]."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(text)
    return dict(parser["general"]) if parser.has_section("general") else {}


def check(content: bytes) -> list[str]:
    """List what the plugin repository would refuse.

    Args:
        content: The zip.

    Returns:
        One sentence for each problem.
    """
    problems = []
    if len(content) > MOST_BYTES:
        problems.append(f"the zip has {len(content):,} bytes, but the limit is {MOST_BYTES:,}.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    problems += check_names(list(files))
    for needed in ("__init__.py", "metadata.txt", "LICENSE"):
        if f"{NAME}/{needed}" not in files:
            problems.append(f"{needed} is missing.")
    fields = metadata(files.get(f"{NAME}/metadata.txt", b"").decode("utf-8"))
    problems += check_metadata(fields, set(files))
    if b"def classFactory(" not in files.get(f"{NAME}/__init__.py", b""):
        problems.append("__init__.py has no function classFactory, which QGIS calls.")
    for name, text in files.items():
        if b"\0" in text:
            problems.append(f"{name} is binary.")
        elif name.endswith(".py"):
            problems += check_code(name, text.decode("utf-8"))
    return problems


def check_names(names: list[str]) -> list[str]:
    """List the files that a plugin's zip must not have."""
    problems = []
    for name in names:
        parts = PurePosixPath(name).parts
        if parts[0] != NAME or ".." in parts or name.startswith("/"):
            problems.append(f"{name} lies outside the folder {NAME}.")
        if any(part in HIDDEN or part.startswith(".") for part in parts):
            problems.append(f"{name} is hidden or made by a program.")
        if PurePosixPath(name).suffix not in ENDINGS:
            problems.append(f"{name} is not of a kind that this plugin has: {', '.join(ENDINGS)}")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", NAME):
        problems.append(f"the folder {NAME} has a name that the repository refuses.")
    return problems


def check_metadata(fields: dict[str, str], files: set[str]) -> list[str]:
    """List what is missing or wrong in metadata.txt."""
    problems = [f"metadata.txt has no {name}." for name in REQUIRED if not fields.get(name)]
    for name in ("version", "qgisMinimumVersion", "qgisMaximumVersion"):
        if not re.fullmatch(r"\d+\.\d+(\.\d+)?", fields.get(name, "0.0")):
            problems.append(
                f"metadata.txt: {name} is {fields[name]!r}; write numbers such as 3.22."
            )
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", fields.get("email", "a@b.c")):
        problems.append(f"metadata.txt: email is {fields['email']!r}, which is not an address.")
    for name in ("homepage", "tracker", "repository"):
        if not fields.get(name, "https://").startswith("https://"):
            problems.append(f"metadata.txt: {name} is {fields[name]!r}; write an https address.")
    problems += check_choices(fields)
    if f"{NAME}/{fields.get('icon', '')}" not in files:
        problems.append(f"metadata.txt: there is no icon {fields.get('icon')!r}.")
    return problems


def check_choices(fields: dict[str, str]) -> list[str]:
    """List the fields of metadata.txt whose value is not one of those allowed."""
    problems = []
    for name in FLAGS:
        if fields.get(name, "False") not in {"True", "False"}:
            problems.append(f"metadata.txt: {name} is {fields[name]!r}; write True or False.")
    if fields.get("hasProcessingProvider", "no") not in {"yes", "no"}:
        problems.append("metadata.txt: hasProcessingProvider is neither yes nor no.")
    most = re.match(r"(\d+)\.(\d+)", fields.get("qgisMaximumVersion", ""))
    if most is None or tuple(map(int, most.groups())) < QT_6:
        problems.append(
            "metadata.txt: qgisMaximumVersion must be at least 4.0, such as 4.99; otherwise QGIS 4 "
            "does not offer the plugin."
        )
    if fields.get("supportsQt6") != "True":
        problems.append(
            "metadata.txt: supportsQt6 must be True for QGIS 3 that was built with Qt 6."
        )
    if "/" in fields.get("author", ""):
        problems.append("metadata.txt: author has a slash, which the repository refuses.")
    problems += [
        f"metadata.txt: {name} has a %, which the repository cannot read."
        for name, value in fields.items()
        if "%" in value
    ]
    if fields.get("category", "Raster") not in CATEGORIES:
        problems.append(f"metadata.txt: category is not one of {', '.join(CATEGORIES)}.")
    if "plugin" in fields.get("name", "").lower():
        problems.append("metadata.txt: name says that it is a plugin, which goes without saying.")
    return problems


def check_code(name: str, text: str) -> list[str]:
    """List the imports that work with one Qt only, or that do not belong in QGIS's Python."""
    problems = []
    for node in ast.walk(ast.parse(text, name)):
        modules = []
        if isinstance(node, ast.Import):
            modules = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        for module in modules:
            first = module.partition(".")[0]
            if OF_QT.match(first):
                problems.append(
                    f"{name} imports {module}; import from qgis.PyQt, for Qt 5 and Qt 6."
                )
            elif first not in sys.stdlib_module_names | {"qgis", "osgeo"}:
                problems.append(f"{name} imports {module}, which QGIS does not have.")
    return problems


if __name__ == "__main__":
    sys.exit(main())
