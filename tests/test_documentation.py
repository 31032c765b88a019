"""Pages that are generated from the code say what the code says now."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))


def test_the_gallery_is_current():
    from make_gallery import gallery

    assert (ROOT / "docs" / "gallery.md").read_text() == gallery(), "run python docs/make_gallery.py"


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


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read_anchors(page: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in read_anchors(target), link


def test_the_site_leads_to_every_page():
    nav = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text())
    assert sorted(nav) == sorted(page.name for page in PAGES if page.parent.name == "docs")


@pytest.mark.slow
def test_the_site_builds_strictly_and_needs_no_other_host(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    for page in tmp_path.rglob("*.html"):
        foreign = re.findall(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"', page.read_text())
        assert [tag for tag in foreign if 'rel="canonical"' not in tag] == [], page.name
    first = (tmp_path / "index.html").read_text()
    assert "explorer.webp" in first
    assert all(f"coz {command} " in re.sub("<[^>]+>", "", first) for command in ("zoom", "explore", "upscale"))
    assert (tmp_path / "explorer.webp").is_file()
    assert list(tmp_path.glob("search/search_index.js*"))
