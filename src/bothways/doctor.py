"""`bothways doctor`: is this machine ready, how fast is it, and what would make it better?

Every check says what was found and, where something is missing or could be better, what to do about it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.text import Text

from bothways import machine
from bothways.terminal import in_bytes

Status = Literal["good", "better", "missing"]

ESSENTIAL = ("torch", "numpy", "tokenizers", "safetensors", "pydantic", "pyyaml")
OPTIONAL = {
    "transformers": ("hf", "open a saved model with transformers"),
    "sentence-transformers": ("hf", "embed texts with sentence-transformers"),
    "pyarrow": ("parquet", "read parquet files"),
    "jieba": ("chinese", "mask whole Chinese words"),
    "gguf": ("gguf", "read GGUF files of llama.cpp"),
}
MARKS = {"good": ("ok", "green"), "better": ("could be better", "yellow"), "missing": ("missing", "red")}
LEAST_MEMORY, LEAST_DISK = 2e9, 1e9  # bytes


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    found   in words, for people
    value   the same for programs: bytes, operations a second, a version
    status  "good"; "better" if it works but could be better; "missing" if Bothways cannot work so
    advice  what to do, if anything
    """

    name: str
    found: str
    value: Any
    status: Status = "good"
    advice: str = ""


def examine(folder: Path, *, seconds: float = 1.0, root: Path = machine.ROOT) -> list[Check]:
    """Look at everything; `folder` is where corpora and runs are to be written.

    Args:
        seconds: roughly how long to measure each of the matrix products; 0 leaves them out.
        root: where /proc and /sys are read.
    """
    checks = [
        _python(),
        _cores(root),
        _memory(root),
        _disk(folder),
        _folder(folder),
        _precision(root),
        _huge_pages(root),
    ]
    checks += [_package(name, f"pip install {name}", "missing") for name in ESSENTIAL]
    for name, (extra, purpose) in OPTIONAL.items():
        checks.append(_package(name, f"to {purpose}: pip install 'bothways[{extra}]'", "better"))
    if seconds and machine.package_version("torch"):
        checks.append(_accelerator())
        checks += _peaks(seconds, root)
    return checks


def missing(checks: Sequence[Check]) -> list[Check]:
    """The checks without which Bothways cannot work."""
    return [check for check in checks if check.status == "missing"]


def as_json(checks: Sequence[Check]) -> dict[str, Any]:
    """The checks for programs: {"ready": bool, "checks": [...]}."""
    return {"ready": not missing(checks), "checks": checks}


def as_text(checks: Sequence[Check]) -> Text:
    """The checks for people, a line each, and what to do below it: a command stands last on its line."""
    wide = 2 + max(len(check.name) for check in checks)
    said = Text()
    for check in checks:
        mark, style = MARKS[check.status]
        said.append(f"{check.name:{wide}}").append(f"{mark:17}", style).append(f"{check.found}\n")
        said.append(f"{'':{wide}}{check.advice}\n" if check.advice else "", "bold")
    said.rstrip()
    return said


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("python", found, found)


def _cores(root: Path) -> Check:
    number = machine.cores(root)
    return Check("cores", f"{number} ({machine.processor(root)})", number)


def _memory(root: Path) -> Check:
    size = machine.memory(root)
    advice = f"training needs {in_bytes(LEAST_MEMORY)}; give this machine or container more"
    return _needed(Check("memory", in_bytes(size), size), advice, there=size >= LEAST_MEMORY)


def _disk(folder: Path) -> Check:
    free = machine.disk_free(folder)
    advice = f"a small run needs {in_bytes(LEAST_DISK)}; free some, or write to another disk"
    return _needed(Check("disk", f"{in_bytes(free)} free", free), advice, there=free >= LEAST_DISK)


def _needed(check: Check, advice: str, *, there: bool, status: Status = "missing") -> Check:
    """The check as it is, or with what to do where it is not there."""
    return check if there else replace(check, status=status, advice=advice)


def _folder(folder: Path) -> Check:
    there = machine.writable(folder)
    check = Check("folder", f"{folder} {'can' if there else 'cannot'} be written to", there)
    return _needed(check, "go to a folder of your own", there=there)


def _precision(root: Path) -> Check:
    precision, why = machine.precision_and_why(root)
    return Check("precision", f"{precision}: {why}", precision)


def _huge_pages(root: Path) -> Check:
    kernel = machine.huge_pages(root)
    if kernel not in ("always", "madvise"):
        advice = "5 to 15 % faster, as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        return Check("huge pages", f"the kernel says {kernel or 'nothing about them'}", kernel, "better", advice)
    if kernel == "madvise" and not machine.huge_pages_asked():
        advice = "5 to 15 % faster: unset THP_MEM_ALLOC_ENABLE or set it to 1"
        return Check("huge pages", "on offer, but not asked for", kernel, "better", advice)
    return Check("huge pages", f"in use ({kernel})", kernel)


def _package(name: str, advice: str, status: Status) -> Check:
    found = machine.package_version(name)
    return _needed(Check(name, found or "not installed", found), advice, there=bool(found), status=status)


def _accelerator() -> Check:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        return Check("accelerator", ", ".join(names), names)
    return Check("accelerator", "none: the processor does the work", [])


def _peaks(seconds: float, root: Path) -> list[Check]:
    """The speed of the three matrix products, with one thread and with one a core, in the precisions worth using."""
    checks = []
    cores = machine.cores(root)
    for precision in sorted({"fp32", machine.precision_for(root=root)}, reverse=True):
        for threads in sorted({1, cores}):
            speeds = machine.gemm_speeds(precision, threads=threads, seconds=seconds)
            shape, best = max(speeds.items(), key=lambda item: item[1])
            threads_word = "1 thread" if threads == 1 else f"{threads} threads"
            found = f"{best / 1e9:.0f} Gflop/s (best of three: {shape})"
            checks.append(Check(f"{precision} peak, {threads_word}", found, best))
    return checks
