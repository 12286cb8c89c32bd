"""What this machine can do: cores, memory, bf16, huge pages, disk, and how fast it multiplies.

Cores and memory are those this process may use (affinity, containers), not those that are built in. Files under
/proc and /sys are read below `root`, so that a test can lay out a machine of its own.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from bothways.errors import MachineError, UsageError

if TYPE_CHECKING:
    import torch

ROOT = Path("/")
BF16 = "BOTHWAYS_BF16"  # the environment's word against bf16
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
NO_MEMORY = ("not enough memory", "can't allocate memory", "bad_alloc", "out of memory", "ALLOC_FAILED")
PR_SET_PDEATHSIG = 1  # sys/prctl.h: which signal a process gets when its parent dies

# Rows (tokens) x inputs x outputs: the feed-forward layers of three presets. The peak is the best of the three, so that
# no run is flattered by one that is slow here; each takes 5 to 25 ms on one core, short enough that some repetition is
# left undisturbed on a machine that others use too.
GEMM_SHAPES = {
    "mini 2048x256x1024": (2048, 256, 1024),
    "small 1024x512x2048": (1024, 512, 2048),
    "base 512x768x3072": (512, 768, 3072),
}


def cores(root: Path = ROOT) -> int:
    """Cores this process may use: its affinity, and a container's share of time if that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _groups("cpu", root) if (share := _core_share(folder)) is not None]
    return max(1, min([allowed, *(round(share) for share in shares)]))


def memory(root: Path = ROOT) -> int:
    """Bytes of memory this process may use: the machine's, and a container's limit if that is less."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text.isdigit():
                limits.append(int(text))
    return min(limits)


def disk_free(folder: Path) -> int:
    """Bytes free on the disk that holds `folder`, or that would hold it once it is made."""
    return shutil.disk_usage(_standing(folder)).free


def writable(folder: Path) -> bool:
    """Can files be written in `folder`, made first if need be?"""
    return os.access(_standing(folder), os.W_OK | os.X_OK)


def processor(root: Path = ROOT) -> str:
    """The processor's own name for itself."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def bf16_instructions(root: Path = ROOT) -> str:
    """The instructions that multiply bf16 faster than fp32 ("amx_bf16", "avx512_bf16", "bf16" on Arm); "" if none.

    Intel's avx512_bf16 does not count: a Sapphire Rapids whose AMX is masked multiplies bf16 at half the speed of fp32
    (86 against 165 Gflop/s), a Zen 4 at twice. Read from the processor's flags rather than timed, so that the same
    machine always chooses the same precision.
    """
    lines = (line.partition(":") for line in _read(root / "proc/cpuinfo").splitlines())
    facts = {name.strip(): value.split() for name, _, value in lines}
    flags = facts.get("flags") or facts.get("Features") or []
    slow = ("avx512_bf16",) if facts.get("vendor_id") == ["GenuineIntel"] else ()
    return next((name for name in ("amx_bf16", "avx512_bf16", "bf16") if name in flags and name not in slow), "")


def bf16_refused() -> bool:
    """Is bf16 switched off for the whole program? The environment says so: BOTHWAYS_BF16=off."""
    value = os.environ.get(BF16, "on")
    if value not in ("on", "off"):
        raise UsageError(f'{BF16}={value} in the environment: expected "off" or "on"')
    return value == "off"


def precision_for(
    asked: str = "auto", *, device: torch.device | None = None, root: Path = ROOT, begun: str | None = None
) -> str:
    """What a model computes in on a device, "bf16" or "fp32"; "auto" leaves it to the machine, or for a run that goes
    on to what it has `begun` in, unless that is switched off.

    Raises:
        UsageError: bf16 was asked for by name, and is switched off.
    """
    if asked == "bf16" and bf16_refused():
        raise UsageError(f"precision bf16 was asked for, and the environment says {BF16}=off: change one of them")
    if asked == "auto" and begun and not (begun == "bf16" and bf16_refused()):
        return begun
    return asked if asked != "auto" else precision_and_why(root, device)[0]


def precision_and_why(root: Path = ROOT, device: torch.device | None = None) -> tuple[str, str]:
    """What this machine computes in where nothing is asked for, and the reason: the one place where it is decided.

    Without a device, that of `device_of`."""
    if bf16_refused():
        return "fp32", f"{BF16}=off in the environment"
    if instructions := bf16_instructions(root):
        return "bf16", f"this processor multiplies it directly ({instructions})"
    known = device is not None or package_version("torch")
    if known and (device or device_of(None)).type == "cuda":
        return "bf16", "a GPU multiplies it directly"
    return "fp32", "this processor multiplies bf16 no faster"


def dtype_of(precision: str) -> torch.dtype:
    """The number format of "fp32" or "bf16"."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def device_of(asked: torch.device | str | None) -> torch.device:
    """A device by its name; None: a GPU where there is one.

    Raises:
        UsageError: a name that PyTorch does not know.
        MachineError: this machine, or this PyTorch, has none.
    """
    import torch

    if asked is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError):
        raise UsageError(f"device: expected 'cpu', 'cuda' or 'cuda:1', got {asked!r}") from None
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError, NotImplementedError):  # PyTorch's way of saying that there is none
        here = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
        raise MachineError(
            f"this machine, or this build of PyTorch, has no device {str(device)!r}; it has: {here}"
        ) from None
    return device


def huge_pages(root: Path = ROOT) -> str:
    """How the kernel hands out transparent huge pages: "always", "madvise", "never", or "" where there are none."""
    text = _read(root / "sys/kernel/mm/transparent_hugepage/enabled")
    return text.partition("[")[2].partition("]")[0]


def huge_pages_asked() -> bool:
    """Will torch ask for huge pages? It reads THP_MEM_ALLOC_ENABLE once, when it is imported."""
    return os.environ.get("THP_MEM_ALLOC_ENABLE") == "1"


def keep_freed_memory() -> None:
    """Lets the C library keep what is freed for the next allocation, where it can be told to (glibc: mallopt(3)).

    Else every step gives its activations back to the kernel and is handed zeroed pages anew: 2 to 7 % of its time.
    """
    if sys.platform == "linux" and (tell := getattr(ctypes.CDLL(None), "mallopt", None)):
        tell(M_MMAP_THRESHOLD, 2**30)
        tell(M_TRIM_THRESHOLD, 2**31 - 1)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: of Python, of a GPU, or of torch on the CPU, which has no kind of error for it."""
    if isinstance(error, RuntimeError):
        return type(error).__name__ == "OutOfMemoryError" or any(said in str(error) for said in NO_MEMORY)
    return isinstance(error, MemoryError)


def leave_with_parent() -> None:
    """In a child, on Linux: SIGTERM when its parent is gone, however it went, so that nothing trains on alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def package_version(package: str) -> str:
    """The installed version of a package; "" if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def gemm_speeds(precision: str, *, threads: int | None = None, seconds: float = 1.0) -> dict[str, float]:
    """Floating-point operations a second of a matrix product, for each shape of GEMM_SHAPES.

    Of several repetitions the fastest counts: what slows one down is the neighbours, not the machine.

    Args:
        precision: "fp32" or "bf16".
        threads: how many to use; None leaves torch's number as it is.
        seconds: roughly how long to measure in all.
    """
    import torch

    dtype = dtype_of(precision)
    speeds = {}
    with _threads(threads), torch.no_grad():
        for name, (rows, inputs, outputs) in GEMM_SHAPES.items():
            left = torch.ones(rows, inputs, dtype=dtype)  # [rows, inputs]
            right = torch.ones(outputs, inputs, dtype=dtype).t()  # [inputs, outputs], laid out as a Linear's weight
            result = torch.empty(rows, outputs, dtype=dtype)
            fastest, stop, repetitions = float("inf"), time.perf_counter() + seconds / len(GEMM_SHAPES), 0
            while repetitions < 3 or time.perf_counter() < stop:
                start = time.perf_counter()
                torch.mm(left, right, out=result)
                fastest = min(fastest, time.perf_counter() - start)
                repetitions += 1
            speeds[name] = 2 * rows * inputs * outputs / fastest
    return speeds


def gemm_peak(precision: str, *, threads: int | None = None, seconds: float = 1.0) -> float:
    """The most floating-point operations a second that a matrix product reaches here: the best of three shapes.

    Every run's share of the machine is measured against this number. Arguments as in `gemm_speeds`.
    """
    return max(gemm_speeds(precision, threads=threads, seconds=seconds).values())


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The control groups that this process stands in, innermost first, in either version's place."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / (controller if controllers else "")
        group = Path(inside.lstrip("/"))
        yield base / group
        for parent in group.parents:
            yield base / parent


def _core_share(folder: Path) -> float | None:
    """How many cores' worth of time a control group may use; None if it has no limit."""
    if text := _read(folder / "cpu.max"):
        quota, period = text.split()
    else:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _standing(folder: Path) -> Path:
    """The folder itself, or the nearest above it that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
