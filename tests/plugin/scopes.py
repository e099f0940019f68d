"""Run by the Python that has PyQGIS: list what code uses of QGIS and Qt that Qt 6 does not have.

Qt 6 has enum members in their enums only: Qt.MouseButton.LeftButton, not Qt.LeftButton.
"""

import ast
import importlib
import sys
from pathlib import Path


def names_of(tree):
    """Return what a module imports from QGIS, by name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qgis"):
            module = importlib.import_module(node.module)
            found |= {one.asname or one.name: getattr(module, one.name) for one in node.names}
    return found


def is_unscoped(names, dotted):
    """Return whether a dotted name is the member of an enum, but not named in the enum."""
    first, *rest = dotted.split(".")
    if first not in names:
        return False
    owner = value = names[first]
    for part in rest:
        if not hasattr(value, part):
            return False  # of an object, not of a class
        owner, value = value, getattr(value, part)
    kind = type(value)
    return isinstance(value, int) and kind is not int and kind is not bool and owner is not kind


number = 0
for path in sorted(Path(sys.argv[1]).rglob("*.py")):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = names_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            number += dotted.split(".")[0] in names
            if is_unscoped(names, dotted):
                print(f"{path.name}:{node.lineno}: {dotted}")
print(number)
