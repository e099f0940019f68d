"""Every example is run by a test, and what is written about examples names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def test_every_numbered_example_is_run_by_a_test():
    tests = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__).resolve()
    )
    numbered = sorted(path.name for path in EXAMPLES.glob("[0-9]*"))
    assert len(numbered) >= 8
    assert [name for name in numbered if name not in tests] == []


def test_examples_that_are_named_in_words_exist():
    pages = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *EXAMPLES.glob("*.*")]
    named = {
        (page.name, name)
        for page in pages
        for name in re.findall(r"examples/([\w/.-]*\w)", page.read_text(encoding="utf-8"))
    }
    assert len(named) > 5
    assert [one for one in sorted(named) if not (EXAMPLES / one[1]).exists()] == []
