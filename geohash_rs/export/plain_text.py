"""Write text that anybody may have chosen so that terminals and spreadsheets only show it."""

import re

__all__ = ["plain_cell", "plain_text"]

# Control characters move the cursor, change colours or retitle a terminal, and those of
# bidirectional text show a name as another: https://trojansource.codes
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
# Spreadsheets take such cells for formulas, which can run programs or send other cells away:
# https://owasp.org/www-community/attacks/CSV_Injection
FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def plain_text(text: str) -> str:
    r"""Escape control characters as JSON does.

    Args:
        text: Any text, such as the name of a scene.

    Returns:
        The same on one line, with nothing that a terminal acts on.

    >>> plain_text("a\x1b[2J.tif")
    'a\\u001b[2J.tif'
    """
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plain_cell(text: str) -> str:
    r"""Escape control characters, and the start of a formula.

    Args:
        text: A text cell of a table.

    Returns:
        What a spreadsheet shows as text.

    >>> plain_cell("=1+1"), plain_cell("/scenes/a=1.tif")
    ("'=1+1", '/scenes/a=1.tif')
    """
    plain = plain_text(text)
    return f"'{plain}" if FORMULA.match(plain.lstrip()) else plain
