"""The pages say what is so: what they tell to do is done, what they point to is there, what they list is complete."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import bothways
from bothways.objectives import describe
from bothways.objectives.page import picture_file
from scripts import api, pictures
from tests.pages import Page, commands, run_command, shortened

REPOSITORY = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = Page(REPOSITORY / "README.md"), Page(REPOSITORY / "README.zh.md")
PAGES = [ENGLISH, CHINESE, *map(Page, sorted((REPOSITORY / "docs").glob("*.md")))]
SAME = {"bash", "python", "console"}  # the kinds of blocks that are not translated; a tree is "text"
KINDS = SAME | {"", "json", "text", "yaml"}


def name_of(page: Page) -> str:
    return page.path.name


def tree_of(page: Page) -> list[str]:
    """The paths that a page's captioned tree names, from the repository's root."""
    (tree,) = (block for block in page.blocks if block.text.startswith("src/"))
    above: list[str] = []
    named = []
    for line in tree.text.splitlines():
        found = re.fullmatch(r"((?:  )*)(\S+) +\S.*", line)
        assert found, f"no caption: {line!r}"
        depth = len(found[1]) // 2
        path = "".join(above[depth - 1 : depth]) + found[2]
        above[depth:] = [path]
        named.append(path)
    return named


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has who did `make quickstart` and has some text: my-text/, my-text-zh/, runs/."""
    folder = tmp_path_factory.mktemp("reader")
    english = [f"The {i}th boat went down the river with {i * i} bags of grain and no salt." for i in range(400)]
    chinese = [f"第{i}条船顺流而下，船上装着{i * i}袋粮食，没有盐。" for i in range(400)]
    for place, lines in (("my-text", english), ("my-text-zh", chinese)):
        (folder / place).mkdir()
        (folder / place / "a.txt").write_text("\n\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, shortened():
        patch.chdir(folder)
        run_command("bothways prepare python-docs --out runs/python-docs")
        run_command("bothways pretrain runs/python-docs --out runs/quickstart")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_tells_to_do_works(
    page: Page, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block by block, in one folder and one Python session; what README.zh.md shares with README.md is run once."""
    known = {block.text for block in ENGLISH.blocks} if page == CHINESE else set()
    blocks = [block for block in page.blocks if block.kind in {"bash", "python"} and block.text not in known]
    monkeypatch.chdir(shutil.copytree(reader, tmp_path / "reader"))
    names: dict[str, Any] = {"__name__": "__main__"}
    with shortened():
        for block in blocks:
            if block.mark.startswith("not run"):
                continue
            if block.kind == "python":
                exec(compile(block.text, f"{page.path.name}, line {block.line}", "exec"), names)
            else:
                for command in commands(block.text):
                    run_command(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page: Page) -> None:
    for block in page.blocks:
        assert block.kind in KINDS, f"line {block.line}: commands stand in bash blocks, what they print in console"
        if "not run" in block.mark:
            assert re.fullmatch(r"not run: \w.{10,}", block.mark), f"line {block.line}: {block.mark!r} gives no reason"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Page) -> None:
    missing = [link for link in page.links if not (page.path.parent / link).exists()]
    assert not missing


def test_every_page_is_listed() -> None:
    index = Page(REPOSITORY / "docs" / "index.md")
    lines = re.findall(r"^- \[.+?\]\(([\w-]+\.md)\): .+", index.text, flags=re.MULTILINE)
    assert sorted(lines) == [page.path.name for page in PAGES if page.path.parent.name == "docs" and page != index]


@pytest.mark.parametrize("name", pictures.DRAWN)
def test_a_picture_is_what_the_objective_draws(name: str) -> None:
    drawn = picture_file(pictures.DRAWN[name], pictures.TEXT)
    assert (pictures.FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawn


def test_the_page_of_the_api_is_what_the_docstrings_say() -> None:
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run: python scripts/api.py"


def test_the_page_of_the_api_has_every_public_name() -> None:
    page = Page(api.PAGE)
    assert {*bothways.__all__} - {"__version__"} <= set(re.findall(r"^### (\w+)$", page.text, flags=re.MULTILINE))


def test_both_readmes_have_the_same_parts() -> None:
    assert CHINESE.headings == ENGLISH.headings
    english, chinese = ([b.text for b in page.blocks if b.kind in SAME] for page in (ENGLISH, CHINESE))
    assert [text for text in chinese if text in english] == english


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=name_of)
def test_the_table_of_objectives_is_what_they_say(page: Page) -> None:
    table = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \| (.+?) \|$", page.text, flags=re.MULTILINE)
    for record, (name, summary, faces, paper) in zip(describe(), table, strict=True):
        assert (name, paper) == (record["name"], record["paper"])
        assert re.findall(r"`(\w+)/`", faces) == record["faces"]
        assert summary == record["summary"] or page == CHINESE


def test_the_tree_is_the_house() -> None:
    named = tree_of(ENGLISH)
    assert tree_of(CHINESE) == named
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    packages = {f"src/bothways/{path.parent.name}/" for path in (REPOSITORY / "src" / "bothways").glob("*/*.py")}
    assert packages <= set(named)
