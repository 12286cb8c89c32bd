"""A user's own objective: registered, built, mixed; and what goes wrong said by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bothways.errors import UsageError
from bothways.objectives import OBJECTIVES, build, register, use
from bothways.objectives.own import OwnObjectiveError
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


MINE = """
import numpy as np
from bothways.objectives import Abilities, About, Corrupted, Objective, register
from bothways.objectives.arrangements import together
from bothways.objectives.predictions import in_place

@register
def every(vocabulary, *, step=3):
    def corrupt(row, rng, progress):
        chosen = np.arange(len(row)) % step == 1
        tokens = np.where(chosen, vocabulary.mask, row.tokens)
        return Corrupted(row, tokens, chosen, np.zeros(len(row), dtype=np.int32))

    about = About(summary="every third", paper="an example", teaches=Abilities(faces=("encoder",)))
    return Objective("every", corrupt, together, in_place, about)
"""


def test_a_whole_number_is_one_where_the_default_is_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    use([tmp_path / "mine.py"])
    sample = build("every(step=4)", VOCABULARY).sample(packed([6, 5]), np.random.default_rng(0), 0.0)
    assert sample.targets[0].at.tolist() == [1, 5, 9, 13]
    for given in ("every(step=1/3)", "every(step=x)", "every(step=1->2)"):
        with pytest.raises(UsageError, match="step of every takes a whole number, got "):
            build(given, VOCABULARY)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("step == 1", "(1 // 0)", r"'every' in .*mine.py, corrupt \(line 10\) failed: expected a Corrupted.*ZeroDiv"),
        ("return Corrupted(", "return (", r"'every' in .*mine.py, corrupt: expected a Corrupted.*, got \("),
        ("row, tokens,", "row, tokens[1:],", r"'every' in .*mine.py, corrupt: expected a Corrupted"),
        ("together, in", "lambda one: one, in", r"'every' in .*mine.py, arrange: expected a Layout"),
        ("in_place, ab", "lambda *_: None, ab", r"'every' in .*mine.py, predict: expected a tuple of Tar.*got None"),
        ("in_place, ab", "None, ab", r"'every' in .*mine.py, predict failed: .*TypeError"),
        ("return Objective(", "return dict, (", r"'every' in .*mine.py: expected an Objective, got \("),
        ("(vocabulary, *, step=3)", "()", r"'every' in .*mine.py failed: expected an Objective, got TypeError"),
    ],
)
def test_a_part_that_fails_says_which_and_where(before: str, after: str, message: str, tmp_path: Path) -> None:
    assert before in MINE
    (tmp_path / "mine.py").write_text(MINE.replace(before, after))
    use([tmp_path / "mine.py"])
    with pytest.raises(OwnObjectiveError, match=message):
        build("every", VOCABULARY).sample(packed([6, 5]), np.random.default_rng(0), 0.0)
