"""`bothways doctor` says what is there, what is missing, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothways import doctor, machine


def named(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_this_machine_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GEMM_SHAPES", dict.fromkeys(machine.GEMM_SHAPES, (64, 64, 64)))
    checks = doctor.examine(tmp_path, seconds=0.01)
    found = named(checks)
    assert not doctor.missing(checks)
    assert found["torch"].found
    assert found["fp32 peak, 1 thread"].value > 0
    assert "best of three" in found["fp32 peak, 1 thread"].found
    assert ("bf16 peak, 1 thread" in found) == (found["precision"].value == "bf16")
    assert doctor.as_json(checks)["ready"] is True


def test_the_speeds_can_be_left_out(tmp_path: Path) -> None:
    assert not [check for check in doctor.examine(tmp_path, seconds=0) if "peak" in check.name]


def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "package_version", lambda name: "" if name in ("tokenizers", "jieba") else "1.0")
    monkeypatch.setattr(machine, "disk_free", lambda folder: 5 * 2**20)
    monkeypatch.setattr(machine, "memory", lambda root: 2**30)
    monkeypatch.setattr(machine, "writable", lambda folder: False)
    checks = doctor.examine(tmp_path, seconds=0)
    assert [check.name for check in doctor.missing(checks)] == ["memory", "disk", "folder", "tokenizers"]
    assert all(check.advice for check in checks if check.status != "good")
    assert named(checks)["jieba"].advice == "to mask whole Chinese words: pip install 'bothways[chinese]'"
    assert doctor.as_json(checks)["ready"] is False


def test_a_slow_machine_could_be_better_but_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BOTHWAYS_BF16", raising=False)
    found = named(doctor.examine(tmp_path, seconds=0, root=tmp_path))  # no /proc, no /sys
    assert found["precision"].found == "fp32: this processor multiplies bf16 no faster"
    assert found["huge pages"].status == "better"
    thp = tmp_path / "sys/kernel/mm/transparent_hugepage"
    thp.mkdir(parents=True)
    (thp / "enabled").write_text("always [madvise] never")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    assert "not asked for" in named(doctor.examine(tmp_path, seconds=0, root=tmp_path))["huge pages"].found


def test_every_check_is_shown_and_a_command_stands_last_on_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "package_version", lambda name: "" if name == "transformers" else "1.0")
    checks = doctor.examine(tmp_path / "a[/b]dir", seconds=0)
    lines = doctor.as_text(checks).plain.splitlines()
    assert [line.split("  ")[0] for line in lines if line[0] != " "] == [check.name for check in checks]
    assert any(line.endswith("a[/b]dir can be written to") for line in lines)
    assert any(line.endswith("to open a saved model with transformers: pip install 'bothways[hf]'") for line in lines)
