"""A user's own objective: registered, built, mixed; and what goes wrong said by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bothways.errors import UsageError
from bothways.objectives import OBJECTIVES, build, register, use
from tests.objectives.leaks import check_no_leak
from tests.objectives.rows import VOCABULARY, packed
from tests.pages import Page

PAGE = Page(Path(__file__).resolve().parents[2] / "docs" / "your-own-objective.md")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = dict(OBJECTIVES)
    yield
    OBJECTIVES.clear()
    OBJECTIVES.update(before)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The file that docs/your-own-objective.md writes."""
    text = PAGE.blocks[0].text
    file = tmp_path / "mine.py"
    file.write_text(text.split("\n", 1)[1].rsplit("END", 1)[0], encoding="utf-8")
    return file


def test_the_pages_objective_is_one_of_ten_lines_and_does_not_leak(mine: Path) -> None:
    use([mine])
    objective = build("repair(rate=0.5)", VOCABULARY)
    said = sum(check_no_leak(objective, packed([6, 5]), seed=seed, progress=0.0) for seed in range(5))
    assert said > 10
    declared = mine.read_text().split("def repair", 1)[1]
    assert len(declared.strip().splitlines()) <= 10
    assert build("1/2 repair + 1/2 mlm", VOCABULARY).shares == {"repair": 0.5, "mlm": 0.5}


def test_a_file_may_be_run_twice(mine: Path) -> None:
    use([mine])
    use([mine])
    row = packed([6, 5])
    sample = build("repair", VOCABULARY).sample(row, np.random.default_rng(0), 0.0)
    assert (sample.tokens != row.tokens).any()


def test_our_names_are_taken() -> None:
    def gpt_bert(vocabulary: object) -> object: ...

    with pytest.raises(UsageError, match="'gpt-bert' is one of Bothways' own"):
        register(gpt_bert)  # type: ignore[type-var]


def test_what_goes_wrong_is_said_by_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing.py: there is no such file"):
        use([tmp_path / "nothing.py"])
    (tmp_path / "broken.py").write_text("import bothways\n1 / 0\n")
    with pytest.raises(UsageError, match=r"broken.py does not run: ZeroDivisionError: division by zero"):
        use([tmp_path / "broken.py"])
