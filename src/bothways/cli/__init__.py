"""The command line: parse, call, print. What the commands do lives in the packages below.

Each file holds one group of commands, as plain functions; the table below is the whole command line. Nothing here
imports torch before a command needs it, so that --help answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
import traceback
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bothways import __version__
from bothways.arguments import shown
from bothways.cli.babylm import babylm
from bothways.cli.chat import chat
from bothways.cli.comparison import compare
from bothways.cli.corpus import corpus_report, prepare, show_rows, verify
from bothways.cli.inside import attention, contextuality, probe, probe_layers
from bothways.cli.judging import judge
from bothways.cli.machine import doctor
from bothways.cli.model import detect, embed, fill, generate, infill, models, score
from bothways.cli.objectives import objectives, show_objective
from bothways.cli.options import name_of, whole
from bothways.cli.planning import plan
from bothways.cli.pretraining import pretrain
from bothways.cli.prompting import pet, prompt
from bothways.cli.searching import search
from bothways.cli.show import until_the_end
from bothways.cli.tasks import evaluate, finetune, merge, predict
from bothways.cli.vectors import nearest, word_vectors
from bothways.cli.watching import tell_where
from bothways.errors import BothwaysError
from bothways.files import refusal
from bothways.machine import out_of_memory
from bothways.stopping import Signalled, came
from bothways.terminal import say

GROUPS = {
    "Text": (prepare, verify, show_rows, corpus_report),
    "Objectives": (objectives, show_objective),
    "Training": (plan, search, pretrain, compare, babylm),
    "Fine-tuning": (finetune, pet, prompt, predict, evaluate, merge, judge),
    "Using a model": (models, fill, infill, generate, chat, score, embed, detect),
    "Looking inside": (probe, probe_layers, contextuality, attention),
    "Word vectors": (word_vectors, nearest),
    "The machine": (doctor,),
}

# What the machine, not the program, refused: a full disk or quota, a folder that may not be written to or read.
REFUSED = frozenset({errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EROFS})

# A name that no file can have.
NO_NAMES = frozenset({errno.EILSEQ, errno.ELOOP, errno.ENAMETOOLONG})

LESS_MEMORY = (
    "Take less at once: --set training.micro_tokens=1024 of pretrain, --set batch=8 or --set length=128 of finetune, "
    "fewer --processes, or a smaller model"
)


class Commands(TyperGroup):
    """The commands under the headings of GROUPS, each with the first paragraph of its help."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command with all of its options: those of a record are made now."""
        function = next((one for one in chain.from_iterable(GROUPS.values()) if name_of(one) == cmd_name), None)
        return whole(function, SETTINGS) if function else super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """A command, with what it claims let go in the end."""
        with until_the_end():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands in their groups."""
        wide = max(map(len, self.commands))
        for group, commands in GROUPS.items():
            with formatter.section(group):
                names = map(name_of, commands)
                formatter.write_dl([(f"{name:{wide}}", _summary(self.commands[name].help)) for name in names])


def _summary(docstring: str | None) -> str:
    """Its first paragraph, in one line."""
    return " ".join((docstring or "").partition("\n\n")[0].split())


SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # help is shown as it is written: "[default: 5min]" is no markup
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 120},
}
app = typer.Typer(cls=Commands, name="bothways", no_args_is_help=True, **SETTINGS | {"add_completion": True})
for _command in chain.from_iterable(GROUPS.values()):
    app.command()(_command)


def _version(asked: bool) -> None:
    if asked:
        say(f"bothways {__version__}")
        raise typer.Exit


@app.callback()
def bothways(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Pretrain compact language models that read left to right, from all sides, and every way in between."""


def main() -> None:
    """Run the command line, and turn what goes wrong into a few plain lines and an exit code.

    0 done, 1 our bug, 2 usage or configuration, 3 data, 4 diverged, 5 checkpoint or model, 6 environment,
    130 Ctrl-C, 143 SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot spell is still said
    if "RANK" in os.environ:
        tell_where()
    if odd := next((word for word in sys.argv[1:] if _is_no_text(word)), None):
        _leave(f"expected UTF-8, got {odd!r}: no record could name it. Give it another name", 2)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch when it is imported: 5 to 15 % faster
    try:
        app(prog_name="bothways")  # completion, too, goes by this name
    except BothwaysError as error:
        _leave(str(error), error.exit_code)
    except Signalled as signalled:
        _leave(f"{signalled}; nothing half-written is left", signalled.exit_code)
    except OSError as error:
        if error.errno in NO_NAMES:
            _leave(f"{shown(str(error.filename))}: {error.strerror}. Name another place.", 2)
        if error.errno not in REFUSED:
            _confess()
        place = f"{error.filename}: " if error.filename else ""
        _leave(f"{place}{refusal(error, Path(error.filename or '.'))}", 6)
    except Exception as error:  # noqa: BLE001 - the last net: whatever comes here is our bug, and says so
        if number := came():  # it follows from the signal: another process left first
            _leave(str(Signalled(number)), 128 + number)
        if out_of_memory(error):
            _leave(f"out of memory: {str(error).strip().partition(chr(10))[0] or 'no more is given'}. {LESS_MEMORY}", 6)
        _confess()


def _is_no_text(word: str) -> bool:
    """Whether a word of the command line is no UTF-8, as a name of another encoding is none."""
    return any("\ud800" <= letter <= "\udfff" for letter in word)


def _leave(message: str, code: int) -> None:
    say(f"bothways: {message}", error=True)
    sys.exit(code)


def _confess() -> None:
    traceback.print_exc()
    _leave("this is a bug in Bothways, not your doing; please report it with the lines above", 1)
