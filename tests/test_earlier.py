"""What earlier releases left on disk is opened: shards, a model, and a run that goes on from its checkpoint.

tests/earlier/make.py made the files, each by the version that it is called after.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

import bothways
from bothways.cli import main
from bothways.corpus import verify
from bothways.training.state import checkpoints, read_record

RELEASES = sorted((Path(__file__).parent / "earlier").glob("*.tar.gz"))


@pytest.fixture(params=RELEASES, ids=lambda path: path.name.removesuffix(".tar.gz"))
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path


def test_shards_and_model_are_read(left: Path) -> None:
    assert verify(left / "shards").train.documents > 300
    (filled,) = bothways.load(left / "run", device="cpu").fill(["the [MASK] sees"])
    assert len(filled) == 1


def test_its_run_goes_on(left: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And is protected from then on, as one of today is."""
    lines = (left / "run" / "metrics.jsonl").read_text().splitlines()
    words = f"pretrain --resume --out {left / 'run'} --json --device cpu --set training.budget.steps=9"
    monkeypatch.setattr("sys.argv", ["bothways", *words.split(), "--set", f"shards={left / 'shards'}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    again = (left / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(again[-1])["step"] == 9 and again[0] == lines[0]
    assert read_record(checkpoints(left / "run" / "checkpoints")[-1])["notes"]["metrics"]["bytes"] > 0
    assert (left / "run" / "encoder" / "SHA256SUMS").is_file()
