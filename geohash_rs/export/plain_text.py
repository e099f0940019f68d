"""Write text that anybody may have chosen so that terminals and spreadsheets only show it."""

import re
from collections.abc import Iterable

__all__ = ["plain_cell", "plain_text", "scene_name", "scene_names"]

# Control characters move the cursor, change colours or retitle a terminal, and those of
# bidirectional text show a name as another: https://trojansource.codes. Characters without a shape
# do so as well, but for the joiners \u200c and \u200d, which several scripts need.
CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# Spreadsheets take such cells for formulas, which can run programs or send other cells away:
# https://owasp.org/www-community/attacks/CSV_Injection. Where decimals have a comma, semicolons
# separate cells.
FORMULA = re.compile(r"(^|;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


def plain_text(text: str) -> str:
    r"""Escape control characters as JSON does.

    Args:
        text: Any text, such as the name of a scene.

    Returns:
        The same on one line, with nothing that a terminal acts on.

    >>> plain_text("a\x1b[2J.tif")
    'a\\u001b[2J.tif'
    """
    return CONTROLS.sub(_escape, text)


def scene_name(scene: object) -> str:
    """Return the last part of a scene's path or address, as text that is only shown.

    Args:
        scene: Path or URI, or a missing value.

    Returns:
        The name of its file, without what follows a question mark in an address; empty if it has
        no scene.

    >>> scene_name("https://host/a/b_2023.tif?signature=secret"), scene_name(None)
    ('b_2023.tif', '')
    """
    if not isinstance(scene, str):
        return ""
    path = scene.partition("?")[0] if "://" in scene else scene  # the rest may be a signature
    return plain_text(re.split(r"[/\\]", path.rstrip("/\\"))[-1])


def scene_names(scenes: Iterable[object]) -> dict[object, str]:
    """Return the shortest ends of scenes' paths that tell the scenes apart.

    Args:
        scenes: Paths or URIs, or missing values; may repeat.

    Returns:
        For each scene its file name, after as many of its folders as it needs.

    >>> names = scene_names(["/a/2020/b.tif", "/a/2021/b.tif", "/a/2021/c.tif"])
    >>> list(names.values())
    ['2020/b.tif', '2021/b.tif', 'c.tif']
    """
    names = {scene: scene_name(scene) for scene in scenes}
    alike: dict[str, list[str]] = {}
    for scene, name in names.items():
        if isinstance(scene, str):
            alike.setdefault(name, []).append(scene)
    for several in alike.values():
        if len(several) > 1:
            parts = {scene: re.split(r"[/\\]", scene.rstrip("/\\"))[:-1] for scene in several}
            for depth in range(1, max(map(len, parts.values())) + 1):
                ends = {scene: parts[scene][-depth:] for scene in several}
                if len(set(map(tuple, ends.values()))) == len(several):
                    break
            for scene in several:
                names[scene] = "/".join([*map(plain_text, ends[scene]), names[scene]])
    return names


def _escape(found: re.Match[str]) -> str:
    return re.sub("....", r"\\u\g<0>", found[0].encode("utf-16-be").hex())


def plain_cell(text: str) -> str:
    r"""Escape control characters, and put an apostrophe before what begins like a formula.

    Args:
        text: A text cell of a table.

    Returns:
        What a spreadsheet shows as text.

    >>> plain_cell("=1+1"), plain_cell("/scenes/a=1.tif"), plain_cell("a;=1+1")
    ("'=1+1", '/scenes/a=1.tif', "a;'=1+1")
    """
    return FORMULA.sub(r"\1'", plain_text(text))
