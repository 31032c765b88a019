"""Pages that are generated from the code say what the code says now."""

from __future__ import annotations

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "maker"),
    [("reference.md", "make_reference:reference"), ("api.md", "make_api:api"), ("formats.md", "make_formats:formats")],
)
def test_generated_pages_are_current(page, maker):
    module, function = maker.split(":")
    text = getattr(__import__(module), function)()
    assert (ROOT / "docs" / page).read_text() == text, f"run python docs/{module}.py"
