"""An objective as a page: every cell is what the mask says, and nothing is fetched."""

from __future__ import annotations

import re

import pytest

from bothways.errors import UsageError
from bothways.objectives.page import kind_of, matrix, visibility_page
from bothways.objectives.show import pictures


@pytest.mark.parametrize(
    "expression", ["causal", "mlm", "unilm2", "mass", "block-diffusion(size=2)", "1/2 causal + 1/2 mlm"]
)
def test_the_cells_are_the_mask(expression: str) -> None:
    for picture in pictures(expression, ["the quick brown fox jumps", "over it"]):
        kinds = re.findall(r'<rect[^>]*class="(\w+)"', matrix(picture))
        assert [kind != "hides" for kind in kinds] == picture.sees.flatten().tolist()


def test_left_to_right_never_sees_what_comes_after() -> None:
    (picture,) = pictures("causal", ["a b c d"])
    assert {kind_of(picture, i, j) for i in range(6) for j in range(6)} == {"", "before", "itself"}
    assert ">b</text>" in matrix(picture) and "<title>a sees [CLS] a, predicts b</title>" in matrix(picture)


def test_a_page_stands_alone_and_escapes_words() -> None:
    page = visibility_page("mlm", ["a <b> & c d e"])
    assert "&lt;b&gt;" in page and "<b>" not in page.partition("<svg")[2]
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "default-src 'none'" in page
    with pytest.raises(UsageError, match="one word or more"):
        visibility_page("mlm", [""])
