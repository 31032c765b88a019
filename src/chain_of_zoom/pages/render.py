"""Fill templates to pages in HTML. Every page extends `base.html`, needs no server and fetches nothing."""

from __future__ import annotations

from functools import cache
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **context: Any) -> str:
    """Return the page as one HTML text. template: a file name in `pages/templates`; values of `context` are escaped.

    The filter `link` turns a relative path into a URL that works whatever is in the name.
    """
    return _environment().get_template(template).render(**context)


@cache
def _environment() -> Environment:
    """Return the environment that keeps compiled templates, since pages that grow are rendered often."""
    environment = Environment(
        loader=PackageLoader("chain_of_zoom.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["link"] = lambda path: quote(PurePath(path).as_posix())
    return environment
