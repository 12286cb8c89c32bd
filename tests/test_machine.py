"""What the machine can do, read from machines laid out in a folder, and measured on this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from bothways import machine
from bothways.errors import UsageError


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_bare_machine_gives_its_own_cores_and_memory(tmp_path: Path) -> None:
    assert machine.cores(tmp_path) == len(os.sched_getaffinity(0))
    assert machine.memory(tmp_path) == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_the_tightest_container_counts(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/memory.max": "1000000\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
            "sys/fs/cgroup/outer/cpu.max": "100000 100000\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
        },
    )
    assert machine.memory(tmp_path) == 1_000_000
    assert machine.cores(tmp_path) == 1


def test_containers_of_the_first_version(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert machine.memory(tmp_path) == 2_000_000
    assert machine.cores(tmp_path) == 1


@pytest.mark.parametrize(
    ("cpuinfo", "instructions"),
    [
        ("model name : A\nflags : fpu avx512f avx512_bf16\n", "avx512_bf16"),
        ("model name : A\nflags : fpu avx512_bf16 amx_bf16\n", "amx_bf16"),
        ("vendor_id : AuthenticAMD\nflags : fpu avx512_bf16\n", "avx512_bf16"),
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16\n", ""),  # half the speed of its fp32
        ("vendor_id : GenuineIntel\nflags : fpu avx512_bf16 amx_bf16\n", "amx_bf16"),
        ("Features : fp asimd bf16\n", "bf16"),
        ("model name : A\nflags : fpu avx2\n", ""),
        ("", ""),
    ],
)
def test_bf16_is_read_from_the_flags(tmp_path: Path, cpuinfo: str, instructions: str) -> None:
    assert machine.bf16_instructions(lay(tmp_path, {"proc/cpuinfo": cpuinfo})) == instructions


def test_precision_is_decided_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the processor, unless it is asked for by name; and by the environment for the whole program."""
    monkeypatch.delenv("BOTHWAYS_BF16", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plain = lay(tmp_path / "plain", {"proc/cpuinfo": "flags : fpu avx2\n"})
    quick = lay(tmp_path / "quick", {"proc/cpuinfo": "flags : fpu avx512_bf16\n"})
    assert [machine.precision_for(root=root) for root in (plain, quick)] == ["fp32", "bf16"]
    assert machine.precision_for("bf16", root=plain) == "bf16"
    assert machine.precision_for("fp32", root=quick) == "fp32"
    assert machine.precision_for(root=plain, begun="bf16") == "bf16"  # a run that goes on
    assert machine.precision_for(root=quick, begun="fp32") == "fp32"
    assert machine.precision_for("fp32", root=quick, begun="bf16") == "fp32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.precision_and_why(plain) == ("bf16", "a GPU multiplies it directly")
    monkeypatch.setenv("BOTHWAYS_BF16", "off")
    assert machine.precision_for(root=quick) == "fp32"
    assert machine.precision_for(root=quick, begun="bf16") == "fp32"
    with pytest.raises(UsageError, match="BOTHWAYS_BF16=off"):
        machine.precision_for("bf16", root=quick)
    monkeypatch.setenv("BOTHWAYS_BF16", "0")
    with pytest.raises(UsageError, match='expected "off" or "on"'):
        machine.precision_for(root=quick)


def test_huge_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.huge_pages(tmp_path) == ""
    lay(tmp_path, {"sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n"})
    assert machine.huge_pages(tmp_path) == "madvise"
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    assert not machine.huge_pages_asked()
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    assert machine.huge_pages_asked()


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert machine.disk_free(tmp_path / "not" / "yet") == pytest.approx(machine.disk_free(tmp_path), rel=0.1)
    assert machine.writable(tmp_path / "not" / "yet")


def test_versions() -> None:
    assert machine.package_version("torch") == torch.__version__
    assert machine.package_version("no-such-package") == ""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_peak_is_the_best_of_three_shapes_and_leaves_the_threads_alone(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "GEMM_SHAPES", dict.fromkeys("abc", (64, 64, 64)))
    before = torch.get_num_threads()
    speeds = machine.gemm_speeds(precision, threads=1, seconds=0.01)
    assert speeds.keys() == machine.GEMM_SHAPES.keys()
    assert all(speed > 0 for speed in speeds.values())
    assert machine.gemm_peak(precision, threads=1, seconds=0.01) > 0
    assert torch.get_num_threads() == before
