"""Several processes as one command: ranks, messages, exit codes, signals, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = """
import sys
from bothways.cli.launch import launch
from bothways.errors import MachineError
try:
    sys.exit(launch([sys.executable, "-c", sys.argv[1]], processes=2))
except MachineError as error:
    print(error, file=sys.stderr)
    sys.exit(6)
"""
RANK = "import os, sys, time, signal\nrank = int(os.environ['RANK'])\n"
WRITE_PID = "open(f'{rank}', 'w').write(str(os.getpid()))\n"


def start(script: str, folder: Path, *, driver: str = DRIVER) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", driver, RANK + script],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pids(folder: Path) -> list[int]:
    """Of the two processes, once both have said so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        texts = [(folder / rank).read_text() if (folder / rank).exists() else "" for rank in "01"]
        if all(texts):
            return [int(text) for text in texts]
        time.sleep(0.02)
    raise AssertionError("the processes did not start")


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_each_is_told_its_rank(tmp_path: Path) -> None:
    script = "open(f'{rank}', 'w').write(os.environ['WORLD_SIZE'] + ' ' + os.environ['MASTER_PORT'])"
    process = start(script, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    first, second = ((tmp_path / rank).read_text() for rank in "01")
    assert first == second and first.startswith("2 ")


@pytest.mark.parametrize("failing", [0, 1])
def test_the_code_and_the_words_are_those_of_the_first_to_fail(failing: int, tmp_path: Path) -> None:
    script = f"""
if rank == {failing}:
    sys.exit(print("my fault", file=sys.stderr) or 3)
time.sleep(1)
sys.exit(print("a consequence", file=sys.stderr) or 1)"""
    process = start(script, tmp_path)
    assert process.communicate(timeout=60)[1] == "my fault\n"
    assert process.returncode == 3


def test_what_follows_from_a_failure_may_come_first(tmp_path: Path) -> None:
    script = """
if rank == 0:
    sys.exit(print("a consequence", file=sys.stderr) or 1)
time.sleep(1)
sys.exit(print("my fault", file=sys.stderr) or 3)"""
    process = start(script, tmp_path)
    assert process.communicate(timeout=60)[1] == "my fault\n"
    assert process.returncode == 3


def test_of_a_bug_all_are_heard(tmp_path: Path) -> None:
    process = start("time.sleep(rank); sys.exit(print('bug', rank, file=sys.stderr) or 1)", tmp_path)
    assert process.communicate(timeout=60)[1] == "bug 0\nbug 1\n"
    assert process.returncode == 1


def test_equal_complaints_are_heard_once(tmp_path: Path) -> None:
    process = start("print('no shards', file=sys.stderr); sys.exit(3)", tmp_path)
    assert process.communicate(timeout=60)[1] == "no shards\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on_and_all_may_save(number: signal.Signals, tmp_path: Path) -> None:
    script = f"""
def save(number, _):
    time.sleep(0.3)
    open(f"saved-{{rank}}", "w").close()
    sys.exit(128 + number)
signal.signal({number.value}, save)
{WRITE_PID}
time.sleep(60)"""
    process = start(script, tmp_path)
    pids(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert {file.name for file in tmp_path.glob("saved-*")} == {"saved-0", "saved-1"}


def test_one_killed_from_outside_ends_the_others(tmp_path: Path) -> None:
    process = start(f"{WRITE_PID}time.sleep(0.5 if rank else 60)\nos.kill(os.getpid(), 9)", tmp_path)
    other = pids(tmp_path)[0]
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 6
    assert "process 2 of 2 was killed by SIGKILL" in said and "--resume" in said
    wait_until_gone(other)


ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
HASTY = (
    "from bothways.cli import launch as own, watching\nwatching.EVERY, watching.STOPPED, watching.IDLE = 0.1, 5, 20\n"
)


@ONLY_LINUX
def test_one_that_is_stopped_is_named_and_ends_all(tmp_path: Path) -> None:
    process = start(f"{WRITE_PID}while True: sum(range(1000))", tmp_path, driver=HASTY + DRIVER)
    both = pids(tmp_path)
    os.kill(both[1], signal.SIGSTOP)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 6
    assert said.startswith("process 2 of 2 was stopped (SIGSTOP)") and "--resume" in said
    assert not [pid for pid in both if Path(f"/proc/{pid}").exists()]


@ONLY_LINUX
def test_of_processes_that_do_nothing_the_one_that_does_not_wait_is_named(tmp_path: Path) -> None:
    """The first waits in a file of torch's, the second sleeps in its own."""
    place = tmp_path / "torch" / "distributed" / "waiting.py"
    place.parent.mkdir(parents=True)
    place.write_text("import time\ndef wait(): time.sleep(1000)\n")
    script = f"""
from bothways.cli.watching import tell_where
tell_where()
sys.path.insert(0, {str(place.parent)!r})
import waiting
{WRITE_PID}
def lost():
    time.sleep(1000)
lost() if rank else waiting.wait()"""
    process = start(script, tmp_path, driver=HASTY + DRIVER)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 6
    assert said.startswith("process 2 of 2 has done nothing") and "in lost" in said and "1 of 2" not in said


@ONLY_LINUX
def test_one_that_hangs_after_the_other_has_ended_is_named(tmp_path: Path) -> None:
    script = f"from bothways.cli.watching import tell_where\ntell_where()\n{WRITE_PID}\nif rank: time.sleep(1000)"
    process = start(script, tmp_path, driver=HASTY + DRIVER)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 6
    assert said.startswith("process 2 of 2 has done nothing") and "1 of 2" not in said


def test_one_that_does_not_heed_a_signal_is_killed(tmp_path: Path) -> None:
    script = f"""
def save(number, _):
    rank or sys.exit(print("saved", file=sys.stderr) or 128 + number)
signal.signal({signal.SIGTERM.value}, save)
{WRITE_PID}
while True: time.sleep(0.1)"""
    process = start(script, tmp_path, driver=HASTY + "own.GRACE_TO_SAVE = 0.5\n" + DRIVER)
    both = pids(tmp_path)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert said == "saved\nbothways: stopped by SIGTERM; killed, since it did not end in time: process 2 of 2\n"
    assert not [pid for pid in both if Path(f"/proc/{pid}").exists()]


def test_a_signal_to_one_stops_all(tmp_path: Path) -> None:
    script = f"""
signal.signal({signal.SIGTERM.value}, lambda number, _: sys.exit(128 + number))
{WRITE_PID}
while True: time.sleep(0.1)"""
    process = start(script, tmp_path)
    os.kill(pids(tmp_path)[1], signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


RESTARTING = """
import sys
import typer
from bothways.cli import launch as own
from bothways.errors import MachineError
own.sys.argv = ["bothways", "first"]
real = own.launch
own.launch = lambda command, processes: real([sys.executable, "script.py", *command[3:]], processes=processes)
try:
    own.as_processes(2, restarts=2, again=lambda: ["again"])
except typer.Exit as left:
    sys.exit(left.exit_code)
except MachineError as error:
    print(error, file=sys.stderr)
    sys.exit(6)
"""


@pytest.mark.parametrize(("dies", "code", "restarts"), [(1, 0, 1), (2, 0, 2), (3, 6, 2)])
def test_processes_begin_again_with_the_command_that_goes_on(
    dies: int, code: int, restarts: int, tmp_path: Path
) -> None:
    """The first of them is killed so many times."""
    script = f"""
word = sys.argv[1]
open(f"{{word}}-{{rank}}-{{time.time_ns()}}", "w").close()
if rank == 0 and len(list(__import__("pathlib").Path().glob("*-0-*"))) <= {dies}:
    os.kill(os.getpid(), 9)
"""
    (tmp_path / "script.py").write_text(RANK + script)
    done = subprocess.run(
        [sys.executable, "-c", RESTARTING], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    for number in range(1, restarts + 1):
        assert (
            f"process 1 of 2 was killed by SIGKILL, perhaps because memory ran out. Restart {number} of 2"
            in done.stderr
        )
    assert f"Restart {restarts + 1}" not in done.stderr
    assert len([*tmp_path.glob("first-0-*")]) == 1 and len([*tmp_path.glob("again-0-*")]) == restarts


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_none_is_left_behind_when_the_launcher_is_killed(tmp_path: Path) -> None:
    process = start(f"{WRITE_PID}time.sleep(60)", tmp_path)
    workers = pids(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    for pid in workers:
        wait_until_gone(pid)
