"""The command line: parse, call, print. What the commands do lives in the packages below.

Each file holds one group of commands, as plain functions; the table below is the whole command line. Nothing here
imports torch before a command needs it, so that --help answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from bothways import __version__
from bothways.cli.comparison import compare
from bothways.cli.corpus import corpus_report, prepare, show_rows, verify
from bothways.cli.inside import attention, contextuality, probe, probe_layers
from bothways.cli.machine import doctor
from bothways.cli.model import detect, embed, extend, fill, infill, score
from bothways.cli.objectives import objectives, show_objective
from bothways.cli.planning import plan
from bothways.cli.pretraining import pretrain
from bothways.cli.tasks import evaluate, finetune, predict
from bothways.cli.vectors import nearest, word_vectors
from bothways.errors import BothwaysError

GROUPS = {
    "Text": (prepare, verify, show_rows, corpus_report),
    "Objectives": (objectives, show_objective),
    "Training": (plan, pretrain, compare),
    "Fine-tuning": (finetune, predict, evaluate),
    "Using a model": (fill, infill, extend, score, embed, detect),
    "Looking inside": (probe, probe_layers, contextuality, attention),
    "Word vectors": (word_vectors, nearest),
    "The machine": (doctor,),
}

# What the machine, not the program, refused: a full disk or quota, a folder that may not be written to or read.
REFUSED = frozenset({errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS})

app = typer.Typer(
    name="bothways",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group, _commands in GROUPS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)


def _version(asked: bool) -> None:
    if asked:
        print(f"bothways {__version__}")
        raise typer.Exit


@app.callback()
def bothways(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Pretrain compact language models that read left to right, from all sides, and every way in between."""


def main() -> None:
    """Run the command line, and turn what goes wrong into a few plain lines and an exit code.

    0 done, 1 our bug, 2 usage or configuration, 3 data, 4 diverged, 5 checkpoint or model, 6 environment,
    130 Ctrl-C, 143 SIGTERM after saving.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch when it is imported: 5 to 15 % faster
    try:
        app()
    except BothwaysError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except OSError as error:
        if error.errno not in REFUSED:
            _confess()
        place = f"{error.filename}: " if error.filename else ""
        _leave(f"{place}{error.strerror}. Free some space, or name a folder that you may write to.", 6)
    except Exception:  # noqa: BLE001 - the last net: whatever comes here is our bug, and says so
        _confess()


def _leave(message: str, code: int) -> None:
    print(f"bothways: {message}", file=sys.stderr)
    sys.exit(code)


def _confess() -> None:
    traceback.print_exc()
    _leave("this is a bug in Bothways, not your doing; please report it with the lines above", 1)
