"""The pages say what is so: what they tell to do is done, what they point to is there, what they list is complete."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import bothways
from bothways.cli import GROUPS
from bothways.cli.options import name_of as command_of
from bothways.objectives import describe
from bothways.objectives.page import picture_file
from bothways.tasks import TASKS
from scripts import api, pictures, settings
from tests.pages import BLOCK, Page, commands, run_command, shortened

REPOSITORY = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = Page(REPOSITORY / "README.md"), Page(REPOSITORY / "README.zh.md")
CONTRIBUTING = Page(REPOSITORY / "CONTRIBUTING.md")
PAGES = [ENGLISH, CHINESE, CONTRIBUTING, *map(Page, sorted((REPOSITORY / "docs").glob("*.md")))]
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
    """To files that are there, and within pages to headings."""
    for link in page.links:
        path, _, place = link.partition("#")
        target = (page.path.parent / path) if path else page.path
        assert target.exists(), link
        assert not place or place in places(target), link


def places(path: Path) -> set[str]:
    """What links into a page call its headings."""
    titles = re.findall(r"^#+ (.+)$", BLOCK.sub("", path.read_text(encoding="utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


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


@pytest.mark.parametrize("name", ["objectives.md", "zh.md"])
def test_the_table_of_objectives_is_what_they_say(name: str) -> None:
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    table = re.findall(r"^\| `([\w-]+)` \| (.+?) \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)[: len(describe())]
    for record, (objective, summary, paper, faces) in zip(describe(), table, strict=True):
        assert (objective, paper) == (record["name"], record["paper"])
        assert re.findall(r"`(\w+)/`", faces) == (record["faces"] or ["model" if objective == "seq2seq" else "body"])
        assert summary == record["summary"] or name == "zh.md"


def test_the_readme_counts_what_there_is() -> None:
    numbers = {14: "fourteen", 15: "fifteen", 17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty"}
    for count, what in ((len(describe()), "objectives"), (len(TASKS), "tasks")):
        assert f"{numbers[count]} {what}" in ENGLISH.text, (count, what)


def test_the_tree_is_the_house() -> None:
    named = tree_of(CONTRIBUTING)
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    packages = {f"src/bothways/{path.parent.name}/" for path in (REPOSITORY / "src" / "bothways").glob("*/*.py")}
    assert packages <= set(named)


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == bothways.__version__


def test_settings_are_those_of_the_records() -> None:
    assert settings.PAGE.read_text(encoding="utf-8") == settings.page(), "python scripts/settings.py writes it anew"
    assert not re.search(r"\| +\|$", settings.page(), flags=re.MULTILINE), "a setting without a description"


def test_what_coverage_names_is_there() -> None:
    """Tests by their names, commands by theirs; a row without a test says that there is nothing yet."""
    text = (REPOSITORY / "docs" / "coverage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^*|-][^|]*) \| (.*) \| (.*) \| (.*) \|$", text, flags=re.MULTILINE)[1:]
    assert len(rows) > 40
    for idea, how, test, result in rows:
        assert (how.startswith("not yet") and not test and not result) or (test and result), idea
        if test:
            file, _, function = test.strip("`").partition("::")
            assert f"def {function}(" in (REPOSITORY / "tests" / file).read_text(encoding="utf-8"), test
    known = {command_of(command) for commands in GROUPS.values() for command in commands}
    assert set(re.findall(r"`bothways ([\w-]+)", text)) <= known


def test_the_page_of_fine_tuning_has_every_task_and_method() -> None:
    text = (REPOSITORY / "docs" / "finetuning.md").read_text(encoding="utf-8")
    table = text.partition("| `--task` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, flags=re.MULTILINE) == [*TASKS]
    named = re.findall(r"`model\.(\w+)", text)
    assert named
    assert [name for name in named if not hasattr(bothways.LanguageModel, name)] == []


@pytest.mark.parametrize("name", ["troubleshooting.md", "zh.md"])
def test_messages_that_pages_explain_are_said(name: str) -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "src").rglob("*.py"))
    text = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`|]+ [^`|]+)` \|", text, flags=re.MULTILINE)
    assert len(messages) > 5
    assert [message for message in messages if message not in source] == []
