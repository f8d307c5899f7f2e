"""Every link of the documentation leads somewhere, here and on PyPI."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests import docs
from tests.sites import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
RAW = docs.REPOSITORY.replace("github.com", "raw.githubusercontent.com") + "/main/"
FILES = docs.REPOSITORY + "/blob/main/"


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", docs.prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
        slug = slug.replace(" ", "-")
        number = sum(re.sub(r"-\d+$", "", each) == slug for each in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


LINKS = [(page, link) for page in docs.PAGES for link in _LINK.findall(docs.prose(page))]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    folder = docs.path_of(page).parent
    for prefix in (RAW, FILES):
        if link.startswith(prefix):
            folder, link = ROOT, link.removeprefix(prefix)
    if link.startswith(("https://", "mailto:")):
        return
    path, _, anchor = link.partition("#")
    target = (folder / path).resolve() if path else docs.path_of(page)

    assert target.is_file()
    assert not anchor or anchor in anchors(target.name)


def test_there_are_links() -> None:
    assert len(LINKS) > 60


def test_the_repository_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert project["urls"]["Source"] == docs.REPOSITORY


def test_links_of_the_readme_are_absolute_for_it_is_shown_on_pypi_too() -> None:
    links = [link for page, link in LINKS if page == "README.md"]

    assert [link for link in links if not link.startswith("https://")] == []
    assert [link for link in links if link.endswith(".png")] == [
        RAW + "docs/mail.png",
        RAW + "docs/batches.png",
    ]


def test_the_readme_is_short_and_names_every_page() -> None:
    readme = docs.PAGES["README.md"]

    assert readme.count("\n") < 150
    for page in docs.PAGES:
        assert page == "README.md" or f"{page})" in readme
