"""Held-out documents of shards: which are read, and how much of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import bothways
from bothways.corpus import PrepareOptions
from bothways.evaluation.held_out import HeldOut


def test_held_out_documents_are_taken_from_all_of_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources stand one after another, and a book is longer than all that is read."""
    monkeypatch.setattr("bothways.evaluation.held_out.MOST", 200)
    lines = {name: [f"the {name} number {n} jumps" for n in range(300)] for name in ("fox", "dog")}
    for name, texts in lines.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts), encoding="utf-8")
    options = PrepareOptions(vocabulary=512, validation=0.3)
    files = [str(tmp_path / f"{name}.txt") for name in ("dog", "fox")]
    bothways.prepare(files, out=tmp_path / "shards", options=options)
    held = HeldOut.read(tmp_path / "shards")
    assert {text.split()[1] for text in held.texts} == {"fox", "dog"} and 100 < sum(map(len, held.rows)) < 400
    (tmp_path / "long.txt").write_text(
        "\n\n".join(" ".join(lines["fox"] + [str(i)]) for i in range(30)), encoding="utf-8"
    )
    bothways.prepare([str(tmp_path / "long.txt")], out=tmp_path / "books", options=options)
    books = HeldOut.read(tmp_path / "books")
    assert len(books.texts) == 2 and all(len(row) <= 102 for row in books.rows)
