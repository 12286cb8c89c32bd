"""Write docs/settings.md: every setting of every command, from the records that check them.

    python scripts/settings.py

A test compares what is there with what the records say today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bothways.cli import GROUPS
from bothways.cli.options import fields_of, fields_of_command, name_of

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"
HEAD = """# Every setting

Made by `python scripts/settings.py` from the records that check the settings; a test holds it to them. A setting
without an option of its own is given by `--set NAME=VALUE`, which may be repeated, or in the YAML file of `--config`.
An unknown name is refused, and the nearest known one is named. What a command's other options do:
`bothways COMMAND --help`; options of writing: [decoding.md](decoding.md).
"""
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def page() -> str:
    """The whole page."""
    recorded = [command for command in chain.from_iterable(GROUPS.values()) if hasattr(command, "record")]
    return "\n".join([HEAD, *map(_section, recorded), _tasks(), _model(), _columns()])


def _section(command: Callable[..., Any]) -> str:
    flags = command.record[1]  # type: ignore[attr-defined] # from_record puts it there
    rows = [_row(path, flags.get(path), field) for path, field in _fields(fields_of_command(command))]
    return _table(f"bothways {name_of(command)}", rows)


def _tasks() -> str:
    from bothways.training.finetuning.multitask_config import MultiTaskConfig, OneTask

    rows = [_row(path, None, field) for path, field in _fields(fields_of(OneTask))]
    own = _row("size_exponent", None, MultiTaskConfig.model_fields["size_exponent"])
    return _table("A task of finetune --tasks, and what is said of all of them", [*rows, own])


def _model() -> str:
    from bothways.model import ModelConfig

    rows = [_row(f"model.{path}", None, field) for path, field in _fields(fields_of(ModelConfig))]
    rows = [row.replace("must be given", "the size's", 1) for row in rows]
    return _table("The model of pretrain, search and compare", rows)


def _columns() -> str:
    from bothways.tasks.records import NAMES

    rows = [f"| `{role}` | {', '.join(f'`{name}`' for name in names)} |" for role, names in NAMES.items()]
    return "\n".join(
        [
            "## Columns that are known by their names\n",
            "Of tables and of records, in upper and lower case; the first that is there is taken. Others are named by",
            "`--set columns.ROLE=NAME`.\n",
            "| role | names |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _table(title: str, rows: list[str]) -> str:
    return "\n".join(
        [
            f"## {title}\n",
            "| setting | as an option | values | default | what it is |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _fields(known: Mapping[str, FieldInfo], below: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """(dotted name, field) of the fields of a record; those of a record in it have its name before theirs."""
    for name, field in known.items():
        record = next((one for one in (field.annotation, *get_args(field.annotation)) if _is_record(one)), None)
        if record is not None and get_origin(field.annotation) is not dict:
            yield from _fields(fields_of(record), f"{below}{name}.")
        else:
            yield f"{below}{name}", field


def _is_record(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _row(path: str, flag: str | None, field: FieldInfo) -> str:
    option = "" if flag is None else f"`{flag}`" if flag else f"`{path.upper()}`"
    default = "must be given" if field.is_required() else _shown(field.get_default(call_default_factory=True))
    cells = [f"`{path}`", option, _values(field), default, field.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(default: Any) -> str:
    if default is None or default == () or default == {}:
        return "none"
    return f"`{list(default) if isinstance(default, tuple) else default}`"


def _values(field: FieldInfo) -> str:
    bounds = [
        said.format(getattr(one, key)) for one in field.metadata for key, said in BOUNDS.items() if hasattr(one, key)
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(hint: Any) -> str:
    origin, inner = get_origin(hint), [one for one in get_args(hint) if one is not NoneType]
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in inner)
    if origin in (Union, UnionType):
        return " or ".join(map(_kind, inner))
    if origin is tuple:
        return f"a list of {_kind(inner[0])}"
    if origin is dict or _is_record(hint):
        return "names and values"
    return {int: "whole number", float: "number", bool: "yes or no", str: "text", Path: "path"}.get(
        hint, "names and values"
    )


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
