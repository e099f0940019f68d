"""Plain English: pages, forms, docstrings, comments and messages avoid listed phrases."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A phrase to avoid, as a regular expression, and what a native engineer writes instead.
PHRASES = {
    r"\bshall\b": "should, must, will",
    r"\bbesides?\b": "next to, as well as, apart from",
    r"\bbro(?:ken?|ke)[ -]off\b|\bbreaks? off\b": "interrupted, stops",
    r"(?<!there )\b(?:is|are|was|were) no "
    r"(?!longer|more|fewer|less|worse|better|slower|faster)": "is not a",
    r"(?:\A|[.:!?]\s+)(?-i:Tell|Say|Give)\b": "Return, Report, Check, State, Pass",
    r"\btold (?:by|otherwise)\b": "comes from, unless you set it",
    r"\btells? apart\b": "distinguishes, separates",
    r"\b(?:in|out)side of\b": "inside, outside",
    r"\btakes? back\b": "removes, reverts",
    r"\bgiv(?:e|es|ing) back\b": "returns, frees",
    r"\bgo(?:es|ing)? on from\b": "resumes from",
    r"\bstands? (?:where|in the way)\b": "fills, prevents",
    r"\breckon\w*": "estimates",
    r"\b(?:hold|holds|held) (?:\w+ ){0,3}against\b": "compares with, checks against",
    r"\baltogether\b": "entirely",
    r"\banew\b": "again",
    r"\bfor who\b": "for those who, if you",
    r"\b(?:thrice|whereof|thereof|therein|hereby)\b": "a plain word",
    r"\bto count as\b": "that correspond to",
    r"\btakes? (?:no )?part\b": "is included, is excluded",
    r"\b(?:do|does|did) not tell\b": "does not say, does not name",
    r"\b(?:searched|with) all the same\b": "nevertheless, a new sentence",
    r"\bstands? twice\b|\bwhen it stands\b": "is added twice, is complete",
    r"\banything goes\b": "accepts any",
    r"\bmay be given\b": "can be repeated, can be combined",
    r"\bmore for more\b": "higher is more",
    r"\bin any case\b": "always",
    r"\bin vain\b": "without success",
    r"\bon (?:its|their) way into\b": "added to",
    r"\bwith commas between\b": "comma-separated",
    r"\bfor want of\b": "for lack of",
    r"\bto blame\b": "causes",
    r"\blooks? after\b": "maintains",
    r"\bjson-able\b": "as JSON values",
    r"\bof other (?:values|bands|times)\b": "with other",
    r"\b(?:is|are) brought (?:to|on)\b|\bbrought onto\b": "resampled, converted",
    r"\bone (?:array|band|file|folder|row) a \w": "one per",
    r"\b(?:other|another) \w+ than\b": "different, unlike, apart from",
}

FILES = [
    *sorted(ROOT.glob("*.md")),
    *(path for path in sorted((ROOT / ".github").rglob("*")) if path.suffix in {".md", ".yml"}),
    ROOT / "pyproject.toml",
    *sorted((ROOT / ".ci").iterdir()),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").glob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.yaml")),
    *sorted((ROOT / "geohash_rs").rglob("*.py")),
    *sorted((ROOT / "geohash_rs" / "serve" / "static").iterdir()),
    *(path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)),
]
FILES = [file for file in FILES if not {"_build", "_generated"} & set(file.parts)]


def prose(path: Path) -> Iterator[str]:
    """Take the prose out of a file, paragraph by paragraph, without code and addresses."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = re.sub(r"^ *```(?!\{image\}).*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
        parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*|]|\d\.) )", text)
    elif path.suffix == ".py":
        parts = [*strings(text), *comments(text)]
    elif path.suffix == ".yml":
        parts = re.split(r"\n(?=\s*[-#])|: ", text)
    else:  # read whole, since messages are between lines of code
        text = text.replace("`", '"') if path.suffix == ".js" else text  # they hold messages
        marks = r"^\s*(?:#+|//+|/?\*+)|\s(?:#+|//+)(?=\s)"
        parts = re.split(r"\n\s*\n", re.sub(marks, "", text, flags=re.MULTILINE))
    for part in parts:
        yield " ".join(re.sub(r"``?[^`]+``?|\]\([^)]*\)", "X", part).split())


def strings(text: str) -> Iterator[str]:
    """List the paragraphs of docstrings and messages, and of f-strings without their values."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from re.split(r"\n\s*\n|\n(?=\s+[\w*]+: )", node.value)


def comments(text: str) -> Iterator[str]:
    """List comments, those on consecutive lines as one."""
    lines, last = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if lines and token.start[0] != last + 1:
                yield " ".join(lines)
                lines = []
            lines.append(token.string.lstrip("#"))
            last = token.start[0]
    yield " ".join(lines)


def found_in(path: Path) -> list[str]:
    """List the phrases to avoid that a file uses, with some words around each."""
    return [
        f"{path.name}: {part[max(0, match.start() - 30) : match.end() + 20]!r}; write: {instead}"
        for part in prose(path)
        for phrase, instead in PHRASES.items()
        for match in re.finditer(phrase, part, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_plain(path):
    assert found_in(path) == []


def test_the_check_finds_phrases_in_prose_and_not_in_code(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "It shall `shall` be\nbeside it.\n\n```sh\nshall\n```\n\nThere is no way. It is no way.\n"
    )
    module = tmp_path / "module.py"
    module.write_text(
        '"""Tell the name."""\n'
        "shall = 1  # it is no wider\n"
        "# held fast\n"
        "# against it\n"
        'message = f"{shall} is anew"\n'
    )
    script = tmp_path / "script.js"
    script.write_text("// the other\n// value than\nconst a = `It shall ${b}`; // in\n// vain\n")
    assert sorted(line.split("write: ")[1] for line in found_in(script)) == [
        "different, unlike, apart from",
        "should, must, will",
        "without success",
    ]
    assert [line.split("write: ")[1] for line in found_in(page)] == [
        "should, must, will",
        "next to, as well as, apart from",
        "is not a",
    ]
    assert sorted(line.split("write: ")[1] for line in found_in(module)) == [
        "Return, Report, Check, State, Pass",
        "again",
        "compares with, checks against",
        "is not a",
    ]
