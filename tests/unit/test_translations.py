"""The Chinese pages carry what the English ones do: no side changes without the other."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/migration.md")


def code_blocks(text: str) -> list[str]:
    fenced = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^    .*\n)+", fenced.sub("", text), re.MULTILINE)
    return fenced.findall(text) + indented


def table_rows(text: str) -> list[int]:
    """The number of rows of each table."""
    return [table.count("\n") for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]


def outline(text: str) -> list[tuple[int, int]]:
    """The levels of the headings, each with the number of list items below it."""
    sections = re.split(r"^(#+) .*$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.M)
    return [
        (len(level), len(re.findall(r"^- ", body, re.MULTILINE)))
        for level, body in zip(sections[1::2], sections[2::2], strict=True)
    ]


def links(text: str) -> list[str]:
    """Where the links lead, but for the language and the place on the page."""
    found = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    return sorted(link.replace(".zh.md", ".md") for link in found)


@pytest.mark.parametrize("of", [code_blocks, table_rows, outline, links])
@pytest.mark.parametrize("page", PAGES)
def test_a_translation_has_the_same(page: str, of: Callable[[str], list[object]]):
    english = of((ROOT / page).read_text())
    assert english
    assert of((ROOT / page.replace(".md", ".zh.md")).read_text()) == english


@pytest.mark.parametrize("page", PAGES)
def test_a_translation_names_the_same_commands_and_options(page: str):
    def named(text: str) -> set[str]:
        text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        text = re.sub(r"\[[^]]*\]\([^)]*\)", "", text)
        return set(re.findall(r"`([^`]+)`", " ".join(text.split())))

    english = named((ROOT / page).read_text())
    chinese = named((ROOT / page.replace(".md", ".zh.md")).read_text())
    assert english
    assert english <= chinese


@pytest.mark.parametrize("page", PAGES)
def test_the_languages_link_to_each_other_at_the_top(page: str):
    name = Path(page).name
    for this, other in (
        (name, name.replace(".md", ".zh.md")),
        (name.replace(".md", ".zh.md"), name),
    ):
        top = (ROOT / page).with_name(this).read_text().splitlines()[:3]
        assert f"({other})" in top[-1]
