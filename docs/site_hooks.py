"""What mkdocs does to the pages: links to files beside docs/, which the site does not have, become their names."""

from __future__ import annotations

import re
from typing import Any

LINK = re.compile(r"\[([^\]\n]+)\]\(\.\./([^)\s]+)\)")


def name_file(link: re.Match[str]) -> str:
    """The words of a link, and where its file is in the repository."""
    words, path = link.groups()
    return words if path in words else f"{words} (`{path}`)"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of every page."""
    return LINK.sub(name_file, markdown)
