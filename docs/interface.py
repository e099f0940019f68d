"""Write one page for each public folder: exactly the names that its stub lists."""

import ast
from pathlib import Path

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "geohash_rs"
FOLDER = DOCS / "_generated" / "api"
PLAIN = ("codes", "errors")  # modules without a folder, public as a whole
LONGEST = 100  # characters of a value that is shown


def write_pages(app) -> None:  # noqa: ARG001 - Sphinx passes it
    """Write the pages that `reference/api.md` lists."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = {face_of(stub): page_of(stub) for stub in sorted(PACKAGE.rglob("__init__.pyi"))}
    for name in PLAIN:
        module = f"geohash_rs.{name}"
        pages[module] = f"{title(module)}\n.. automodule:: {module}\n   :members:\n"
    for old in FOLDER.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = FOLDER / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")  # an unchanged page is not read again


def page_of(stub: Path) -> str:
    """Compose the page of a folder from its stub."""
    face = face_of(stub)
    lines = [title(face), f".. automodule:: {face}", "   :no-members:", ""]
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = stub.parent.joinpath(*(node.module or "").split(".")).with_suffix(".py")
            for item in node.names:
                kind, options = directive(item.name, module)
                if node.module in PLAIN:  # links lead to the page of that module
                    options.append("   :no-index:")
                lines += [f".. {kind}:: {face}.{item.name}", *options, ""]
    return "\n".join(lines)


def directive(name: str, module: Path) -> tuple[str, list[str]]:
    """Find out how a name is documented: as a class, a function or a value."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if getattr(node, "name", None) == name:
            if isinstance(node, ast.ClassDef):
                return "autoclass", ["   :members:", "   :show-inheritance:"]
            return "autofunction", []
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            value = ast.unparse(node.value)
            return "py:data", [f"   :value: {value}"] if len(value) <= LONGEST else []
    return "py:data", []


def face_of(stub: Path) -> str:
    """Name the folder of a stub as it is imported."""
    return ".".join(stub.parent.relative_to(PACKAGE.parent).parts)


def title(name: str) -> str:
    """Compose the heading of a page."""
    return f"{name}\n{'=' * len(name)}\n"
