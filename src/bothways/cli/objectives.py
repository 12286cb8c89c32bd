"""Commands about objectives: what there is, and what each does to a row of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bothways.cli.options import OBJECTIVE, repeated
from bothways.cli.show import Json, load_torch, print_json, room_for
from bothways.files import write_text
from bothways.terminal import bold, dim, draw, say

Code = Annotated[list[Path], repeated("--code", about="A Python file of yours with objectives of your own")]


def objectives(json: Json = False) -> None:
    """List the objectives: what each predicts, its paper, what it needs and which faces its model has."""
    load_torch()
    from rich.table import Table

    from bothways.objectives import describe

    records = describe()
    if json:
        return print_json(records)
    table = Table.grid(padding=(0, 2))
    for record in records:
        faces = " and ".join(f"{face}/" for face in record["faces"]) or "model/ or body/ (docs/saved-models.md)"
        table.add_row(bold(record["name"]), record["summary"])
        table.add_row("", dim(f"{record['paper']}\ngives {faces}; needs {record['needs']}; {record['pairs']}"))
    draw(table, wrap=True)
    example = next(record for record in records if record["name"] == "mlm")
    arguments = ", ".join(f"{key}={value}" for key, value in example["arguments"].items() if value is not None)
    say(f'\nWith arguments: "mlm({arguments})". Mixed, by row: "1/2 causal + 1/2 mlm".')
    return None


def show_objective(
    objective: Annotated[
        str, typer.Argument(help='A name, "mlm(rate=0.3)", or "1/2 causal + 1/2 mlm".', autocompletion=OBJECTIVE)
    ],
    text: Annotated[list[str], typer.Argument(help="Words; each text is a document of its own.")],
    code: Code,
    seed: Annotated[int, typer.Option(min=0, help="Which draw to show.")] = 0,
    progress: Annotated[float, typer.Option(min=0, max=1, help="How far into the run: 0 to 1.")] = 0.0,
    html: Annotated[Path | None, typer.Option(help="Write a page with the picture here instead.")] = None,
) -> None:
    """Show what an objective makes of some words: who sees whom, and what is predicted where."""
    load_torch()
    from bothways.objectives import use
    from bothways.objectives.show import show

    use(code)
    if html is not None:
        from bothways.objectives.page import visibility_page

        room_for(html)
        write_text(html, visibility_page(objective, text, seed=seed, progress=progress))
        return say(f"page  {html}")
    return say(show(objective, text, seed=seed, progress=progress))
