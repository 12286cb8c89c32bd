"""Checkpoints: what is put back is what was saved, and damage is always found, named, and never loaded."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from bothways.errors import MachineError, ModelError
from bothways.training import state as state_module
from bothways.training.loop import LoopInputs, train
from bothways.training.state import State, checkpoints, load_state, load_weights, read_record, save_state
from tests.training.small import OPTIMISERS, assert_same, everything, settings, small_model, state_of, work_of

FILES = ("optimiser.safetensors", "state.json", "weights.safetensors")


def trained(optimiser: str = "adamw", *, steps: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32) -> State:
    model = small_model(seed=seed)
    state = state_of(model, settings(optimiser).optimiser, dtype=dtype)
    go_on(state, work_of(model), steps)
    state.notes = {"total": 10, "best": {"step": 1, "loss": 1e-05}}
    return state


def go_on(state: State, work: LoopInputs, steps: int) -> None:
    """Towards a budget of ten steps."""
    for report in train(work, state=state, config=settings(), total=10):
        if report.step == steps:
            break


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_state(trained(), tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_everything_comes_back_to_the_bit(optimiser: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """And goes on from there as if nothing had been: three steps more, on both sides."""
    first = trained(optimiser, dtype=dtype)
    folder = save_state(first, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == list(FILES)
    model = small_model(seed=1)
    second = state_of(model, settings(optimiser).optimiser, dtype=dtype)
    load_state(second, folder)
    assert_same(everything(second), everything(first))
    assert second.counters() == first.counters()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, second.weights.master[name].to(dtype))
    go_on(second, work_of(model), 5)
    assert_same(everything(second), everything(trained(optimiser, steps=5, dtype=dtype)))


def test_a_state_before_its_first_step_can_be_saved(tmp_path: Path) -> None:
    first = state_of(small_model(), settings().optimiser)
    second = state_of(small_model(seed=1), settings().optimiser)
    load_state(second, save_state(first, tmp_path))
    assert_same(everything(second), everything(first))


@pytest.fixture(scope="module")
def untouched() -> State:
    return state_of(small_model(), settings().optimiser)


@limits(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(FILES))
def test_a_flipped_bit_is_found_and_named(
    data: st.DataObject, name: str, saved: Path, untouched: State, tmp_path: Path
) -> None:
    whole = (saved / name).read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    copy = tmp_path / "step-2"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(saved, copy)
    (copy / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
    for use in (read_record, load_weights, lambda folder: load_state(untouched, folder)):
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            use(copy)


def test_every_letter_of_the_record_counts(saved: Path, tmp_path: Path) -> None:
    """Even those that JSON reads as the same: 1e-05 and 1E-05 differ in one bit."""
    copy = shutil.copytree(saved, tmp_path / "step-2")
    whole = (copy / "state.json").read_bytes()
    assert b"1e-05" in whole
    for at in range(len(whole)):
        (copy / "state.json").write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        with pytest.raises(ModelError, match=r"state\.json"):
            read_record(copy)


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage",
    [_truncate, lambda file: file.write_bytes(b""), Path.unlink, lambda file: file.write_text("[]")],
    ids=["truncated", "empty", "missing", "other"],
)
def test_a_broken_file_is_named(damage, name: str, saved: Path, untouched: State, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(saved, tmp_path / "step-2")
    damage(copy / name)
    with pytest.raises(ModelError, match=rf"{copy}/{name}.* Delete {copy} to go on from the one before"):
        load_state(untouched, copy)


def test_a_file_that_does_not_belong_is_named(saved: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(saved, tmp_path / "step-2")
    (copy / "extra.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")  # a pickle: never read
    with pytest.raises(ModelError, match=r"extra\.pt"):
        read_record(copy)


def test_another_version_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "VERSION", 999)
    folder = save_state(trained(), tmp_path)
    monkeypatch.undo()
    with pytest.raises(ModelError, match="version 999.*version 3"):
        read_record(folder)


def test_another_model_is_said(saved: Path) -> None:
    deeper = state_of(small_model(layers=2), settings().optimiser)
    with pytest.raises(ModelError, match=r"another model: backbone\.blocks\.1"):
        load_state(deeper, saved)
    wider = state_of(small_model(width=48), settings().optimiser)
    with pytest.raises(ModelError, match=r"another model: .*shape"):
        load_state(wider, saved)


def test_what_is_half_written_is_no_checkpoint(saved: Path, tmp_path: Path) -> None:
    for name in ("step-10", "step-9", ".step-11.partial", "step-12.old", "step-"):
        (tmp_path / name).mkdir()
    assert [path.name for path in checkpoints(tmp_path)] == ["step-9", "step-10"]
    assert checkpoints(tmp_path / "nowhere") == []


def test_a_checkpoint_is_written_once(tmp_path: Path) -> None:
    """A signal right after a save does not open a moment in which the last checkpoint is gone."""
    state = trained()
    before = {file.name: file.stat().st_mtime_ns for file in save_state(state, tmp_path).iterdir()}
    assert {file.name: file.stat().st_mtime_ns for file in save_state(state, tmp_path).iterdir()} == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one checkpoint and a half."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _fill_up(folder: Path) -> None:
    state = trained(steps=3)
    for state.step in (1, 2, 3):
        save_state(state, folder)


def test_a_full_disk_leaves_the_old_checkpoint(small_disk: Path) -> None:
    with pytest.raises(MachineError, match=r"No space left.*MiB free.*Make room"):
        _fill_up(small_disk)
    found = checkpoints(small_disk)
    assert found
    assert [path for path in small_disk.iterdir() if path not in found] == []
    load_state(trained(steps=1), found[-1])


@pytest.mark.parametrize("where", ["save_file", "write_text"])
def test_a_full_disk_leaves_nothing_half_done(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = trained()
    whole = save_state(state, tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_module, where, full)
    state.step = 3
    with pytest.raises(MachineError, match="No space left"):
        save_state(state, tmp_path)
    assert list(tmp_path.iterdir()) == [whole]
    read_record(whole)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        save_state(trained(), tmp_path / "file" / "checkpoints")


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    assert save_state(trained(), tmp_path, write=False) == tmp_path / "step-2"
    assert not list(tmp_path.iterdir())


def test_the_record_is_plain(saved: Path) -> None:
    record = json.loads((saved / "state.json").read_text())
    assert (record["step"], record["skipped"], record["notes"]["total"]) == (2, 0, 10)
    assert record["sha256"].keys() == {"weights.safetensors", "optimiser.safetensors"}
    assert np.isfinite(record["tokens"])
