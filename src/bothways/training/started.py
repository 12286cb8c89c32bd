"""What stands around every training command: its processes, its claim on the folder, its stop and its tracker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import BaseModel

from bothways.claims import claimed
from bothways.training.fit import Say, Show, again, stoppable
from bothways.training.processes import Processes, processes
from bothways.training.tracking import tracked


@contextmanager
def started(
    name: str,
    config: BaseModel,
    *,
    resume: bool,
    device: torch.device | str | None,
    track: str | None,
    show: Show,
    say: Say,
) -> Iterator[tuple[Processes, Show, Say]]:
    """Around the whole run of a command of this name: its processes, and what shows and says on the first of them.

    Raises:
        BothwaysError: no such device or tracker, or another command writes there.
        Stopped: a signal came.
    """
    settings, out = config.model_dump(mode="json"), dict(config)["out"]
    with (
        processes(device=device) as team,
        stoppable(out, again(name, out, team)),
        claimed(out, writes=team.first),
        tracked(track if team.first else None, out, settings, show=show, resume=resume) as show,
    ):
        yield (team, show, say) if team.first else (team, lambda line: None, lambda text: None)
