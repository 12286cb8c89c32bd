"""What is printed is what was given: no markup in it, not wrapped where it may be copied, quoted where it is run."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path

import pytest
from rich.table import Table

from bothways.terminal import WIDE, Status, bold, command, console, doing, draw, say

FOREIGN = "[bold]a[/] [/b] [red] :smile: \\[x] https://x.y/z 'q'"


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


def table(*cells: str) -> Table:
    made = Table(FOREIGN, box=None, title=FOREIGN)
    made.add_column("second")
    made.add_row(*cells)
    return made


def test_no_string_is_markup_and_nothing_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    long = f"{FOREIGN} " * 40
    say(long)
    draw(table(long, FOREIGN), bold(FOREIGN), FOREIGN, wrap=True)  # no terminal: no end to the right
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == long and len(lines) == 5
    assert all(FOREIGN in line for line in lines) and lines[3].count(FOREIGN) == 41
    say(FOREIGN, error=True)
    assert capsys.readouterr().err == f"{FOREIGN}\n"


def test_on_a_narrow_terminal_only_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, and no colours
    narrow, path = Terminal(), "a/long/path/" * 10
    monkeypatch.setattr(sys, "stdout", narrow)
    say(path)
    draw(table(path, "2"))
    assert sum(path in line for line in narrow.getvalue().splitlines()) == 2
    narrow.seek(0)
    narrow.truncate()
    draw(table(path, ""), wrap=True)
    assert max(map(len, narrow.getvalue().splitlines())) <= 80
    assert path in "".join(narrow.getvalue().split())
    assert (console().width, console(wrap=False).width) == (80, WIDE)


@pytest.mark.parametrize("name", ["a b", "a'b", '"', "$HOME", "[red]", "*", "~", "-x", "a\nb", "Ω 词"])
def test_a_command_is_what_a_shell_reads_back(name: str) -> None:
    words = shlex.split(command("fill", Path(name), f"{name} [MASK]"))
    assert words[:2] == ["bothways", "fill"] and Path(words[2]) == Path(name) and words[3] == f"{name} [MASK]"
    assert not words[2].startswith("-")
    assert command("pretrain", Path("shards"), "--out", "runs/first") == "bothways pretrain shards --out runs/first"


def test_what_is_being_done_is_shown_to_who_waits_and_wiped_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, shown in ((Terminal(), "loading ...\r           \r"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(KeyError), doing("loading"):
            raise KeyError
        assert stream.getvalue() == shown
    monkeypatch.setattr(sys, "stderr", Terminal())
    status = Status()
    for text in ("12", "345", ""):
        status(text)
    assert sys.stderr.getvalue() == "12\r  \r345\r   \r"  # type: ignore[attr-defined]
