"""The Python on docs/python.md and docs/saved-models.md runs, in the order in which it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.inference.made import make_run


@pytest.mark.parametrize("page", ["python.md", "saved-models.md"])
def test_examples_run(
    page: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sentence_transformers")
    make_run(tmp_path / "runs" / "quickstart")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(
        r"^```python\n(.*?)^```", (repository / "docs" / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, names)
    assert len(capsys.readouterr().out.splitlines()) >= 5
