"""What the machine and the data do to a run: each is said once, plainly, and nothing that was good is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bothways.batch import Batch, Losses
from bothways.errors import BothwaysError, DataError, DivergedError, MachineError, UsageError
from bothways.model import Model
from bothways.objectives import Objective
from bothways.training.pretraining import pretrain, setup
from bothways.training.run_folder import RunFolder
from bothways.training.state import checkpoints, read_record
from tests.disks import half_written, limited
from tests.training.pretraining.small import assert_same_run, configuration, lines, run_until

pytestmark = pytest.mark.usefixtures("quick")


class _Spy:
    """A `show` that counts what it is shown."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, line: dict[str, Any]) -> None:
        self.seen += 1


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB: room for a run of the small model, not for much more."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_place_that_is_no_folder_stops_before_the_first_step(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    show = _Spy()
    with pytest.raises(MachineError, match="cannot be written"):
        pretrain(configuration(shards, tmp_path / "file" / "run"), show=show)
    assert not show.seen


def test_a_read_only_disk_stops_before_the_first_step(mounted: Path, shards: Path) -> None:
    config = configuration(shards, mounted / "run")
    run_until(config, 3)
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    show = _Spy()
    with pytest.raises(MachineError, match="Read-only file system"):
        pretrain(configuration(shards, mounted / "other"), show=show)
    with pytest.raises(MachineError, match="Read-only file system"):
        pretrain(config, resume=True, show=show)
    assert not show.seen


def test_a_full_disk_stops_the_run_and_loses_nothing(mounted: Path, shards: Path, tmp_path: Path) -> None:
    """Once there is room the run goes on, to the bit."""
    whole = configuration(shards, tmp_path / "whole")
    pretrain(whole)
    config = configuration(shards, mounted / "run")

    def fill(line: dict[str, Any]) -> None:
        if line["step"] == 7:
            (mounted / "ballast").write_bytes(b"\0" * (shutil.disk_usage(mounted).free - 2 * 4096))

    with pytest.raises(MachineError, match=r"No space left.*MiB free.*Make room"):
        pretrain(config, show=fill)
    assert [read_record(path)["step"] for path in checkpoints(config.out / "checkpoints")][-1] >= 5
    (mounted / "ballast").unlink()
    pretrain(config, resume=True)
    assert_same_run(config.out, whole.out)


@pytest.mark.parametrize("name", ["train-00000.tokens", "train-00000.words", "validation-00000.tokens"])
def test_a_flipped_bit_in_a_shard_is_named(name: str, shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shards, tmp_path / "shards")
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        pretrain(configuration(copy, tmp_path / "run"))


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("shards=nowhere", DataError, "nowhere"),
        ("objective=mlmm", UsageError, "'mlm'"),
        ("size=huge", UsageError, "tiny"),
        ("training.step_tokens=250", UsageError, "step_tokens"),
        ("training.sharded=true", UsageError, "torchrun --nproc-per-node 2"),
    ],
)
def test_what_cannot_be_leaves_no_run(
    setting: str, error: type[BothwaysError], message: str, shards: Path, tmp_path: Path
) -> None:
    show = _Spy()
    with pytest.raises(error, match=message):
        pretrain(configuration(shards, tmp_path / "run", setting), show=show)
    assert not show.seen
    pretrain(configuration(shards, tmp_path / "run", "training.budget.steps=1"))  # the place is still free


def _spoilt_from(step: int, plain: Any) -> Any:
    def losses_of(objective: Objective, model: Model) -> Any:
        losses_of, asked = plain(objective, model), [0]

        def losses(batch: Batch, generator: torch.Generator) -> Losses:
            asked[0] += 1
            bad = asked[0] > 4 * step  # four batches a step
            return {
                name: (loss * (float("nan") if bad else 1.0), count)
                for name, (loss, count) in losses_of(batch, generator).items()
            }

        return losses

    return losses_of


def test_a_run_that_diverges_stops_and_can_go_on(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but NaN after step 6: steps 7 to 11 are skipped, then it ends; a lower rate goes on from step 10."""
    plain = setup.losses_of
    config = configuration(shards, tmp_path / "run")
    monkeypatch.setattr(setup, "losses_of", _spoilt_from(6, plain))
    with pytest.raises(DivergedError, match=r"5 steps in a row, the last of them step 11.*--resume --set") as caught:
        pretrain(config)
    assert caught.value.exit_code == 4
    assert RunFolder(config.out).manifest()["status"] == "diverged"
    found = lines(config.out)
    assert [line["skipped"] for line in found if line["kind"] == "train"] == [0] * 6 + [1, 2, 3, 4, 5]
    assert found[-1]["loss"] is None
    assert "NaN" not in (config.out / "metrics.jsonl").read_text()
    monkeypatch.setattr(setup, "losses_of", plain)
    pretrain(configuration(shards, config.out, "training.optimiser.learning_rate=1e-4"), resume=True)
    assert [line["skipped"] for line in lines(config.out) if line["kind"] == "train"][-2:] == [4, 4]


def test_the_whole_of_it(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing left out: measured, baselined, exported, reported."""
    monkeypatch.undo()
    config = configuration(shards, tmp_path / "run", "training.budget.steps=3")
    assert pretrain(config) == config.out
    assert {path.name for path in config.out.iterdir()} >= {
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "checkpoints",
        "report.html",
        "encoder",
        "decoder",
    }
    manifest = json.loads((config.out / "manifest.json").read_text())
    assert (manifest["status"], manifest["steps"]) == ("done", 3)
    assert manifest["baselines"].keys() == {"unigram", "bigram", "trigram"}
    first = lines(config.out, without=set())[1]
    assert first["useful_share"] > 0
    assert not [path for path in config.out.rglob("*") if path.name.endswith(".partial")]


@pytest.mark.parametrize(("objective", "made"), [("hybrid", "decoder"), ("electra", "generator")])
def test_an_export_that_the_disk_refuses(
    objective: str, made: str, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is left, and the run that goes on makes it."""
    monkeypatch.undo()
    config = configuration(shards, tmp_path / "run", "training.budget.steps=1", objective=objective)
    with limited() as limit, pytest.raises(MachineError, match=r"File too large.*ulimit"):
        pretrain(config, say=lambda text: limit(20_000) if text.startswith("saving the model") else None)
    assert half_written(tmp_path) == []
    assert {path.name for path in config.out.iterdir()} == {
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "checkpoints",
    }
    pretrain(config, resume=True)
    assert {"encoder", made, "report.html"} <= {path.name for path in config.out.iterdir()}
    assert half_written(tmp_path) == []


def test_a_folder_that_vanishes_while_it_trains(shards: Path, tmp_path: Path) -> None:
    config = configuration(shards, tmp_path / "run")

    def vanish(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            config.out.rename(tmp_path / "elsewhere")

    with pytest.raises(MachineError, match=r"No such file or directory\. It is gone"):
        pretrain(config, show=vanish)
    assert not config.out.exists()
