"""The tool that makes the plugin's zip, and what of this folder pytest leaves alone."""

import importlib.util
from pathlib import Path

import pytest

# for the Python with PyQGIS
collect_ignore = [
    "askew.py",
    "desktop.py",
    "looks.py",
    "plugin_session.py",
    "replacing.py",
    "scopes.py",
    "timing_session.py",
]

TOOL = Path(__file__).resolve().parents[2] / "plugin" / "package.py"


@pytest.fixture(scope="session")
def package():
    """The module plugin/package.py."""
    spec = importlib.util.spec_from_file_location("package", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
