"""What goes wrong becomes a few plain lines and an exit code, never a traceback unless the bug is ours."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bothways import __version__, cli, errors


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bothways", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def raising(error: BaseException) -> Callable[..., Any]:
    def app(**_: Any) -> None:
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (errors.UsageError("no such size"), 2, "bothways: no such size\n"),
        (errors.DataError("line 3 of a.jsonl: expected JSON"), 3, "bothways: line 3 of a.jsonl: expected JSON\n"),
        (errors.DivergedError("five steps in a row"), 4, "bothways: five steps in a row\n"),
        (errors.ModelError("no [MASK]"), 5, "bothways: no [MASK]\n"),
        (errors.needs("jieba", "chinese"), 6, "pip install 'bothways[chinese]'\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 6, "bothways: runs/x: No space left on device ("),
        (
            PermissionError(errno.EACCES, "Permission denied", "/root"),
            6,
            "bothways: /root: Permission denied. You may not write there",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            6,
            "bothways: Read-only file system. The file system is mounted read-only",
        ),
        (MemoryError(), 6, "bothways: out of memory: no more is given. Take less at once:"),
        (
            torch.OutOfMemoryError("Tried to allocate 20 GiB.\nMore"),
            6,
            "bothways: out of memory: Tried to allocate 20 G",
        ),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), 6, "--set training.micro_tokens=1024"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_a_user_can_cause(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", raising(error))
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr()
    assert left.value.code == code
    assert message in said.err
    assert "Traceback" not in said.err and said.out == ""


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError(errno.ENOENT, "No such file", "x")])
def test_our_bugs_are_owned(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", raising(error))
    with pytest.raises(SystemExit) as left:
        cli.main()
    said = capsys.readouterr().err
    assert left.value.code == 1
    assert "Traceback" in said and "this is a bug in Bothways" in said


def test_help_and_version() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("doctor",))
    assert run("--version").stdout == f"bothways {__version__}\n"
    assert run().returncode == 2  # nothing asked: the help is shown, as an error


@pytest.mark.parametrize("wrong", [["doctr"], ["doctor", "--jsn"], ["doctor", "--seconds", "many"]])
def test_a_wrong_command_or_option(wrong: list[str]) -> None:
    said = run(*wrong)
    assert said.returncode == 2
    assert "Traceback" not in said.stderr
    assert "bothways" in said.stderr


def test_doctor() -> None:
    told = run("doctor", "--seconds", "0", "--json")
    assert told.returncode == 0
    assert json.loads(told.stdout)["ready"] is True
    assert "Ready." in run("doctor", "--seconds", "0").stdout


def test_doctor_says_what_is_missing_by_its_exit_code() -> None:
    told = run("doctor", "--seconds", "0", "--json", "--folder", "/proc/nowhere")
    assert told.returncode == 6
    lacking = [check for check in json.loads(told.stdout)["checks"] if check["status"] == "missing"]
    assert lacking
    assert all(check["advice"] for check in lacking)


def test_doctor_sees_the_huge_pages_that_the_command_line_asks_for() -> None:
    told = json.loads(run("doctor", "--seconds", "0", "--json").stdout)["checks"]
    assert next(check for check in told if check["name"] == "huge pages")["found"] != "on offer, but not asked for"


INTERRUPTED = """
import os, signal, sys
from bothways.__main__ import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # from the terminal, and passed on by another process

sys.meta_path.insert(0, Finder())
main()
"""


@pytest.mark.parametrize("module", ["bothways.cli", "typer.core", "numpy", "torch._C", "bothways.objectives"])
def test_ctrl_c_while_it_starts_ends_with_130_and_no_traceback(module: str) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "show-objective", "mlm", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (130, "bothways: stopped by Ctrl-C\n", "")


def test_what_a_terminal_cannot_spell_is_said_all_the_same() -> None:
    said = run("verify", "no/ŵ", PYTHONIOENCODING="ascii")
    assert said.returncode == 3 and "no/\\u0175" in said.stderr and "Traceback" not in said.stderr
