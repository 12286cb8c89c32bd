"""Options of a command that are fields of a record: name, default, help and bounds stand once, in the record.

Records need pydantic, and what they describe needs torch: they are looked up when their command is, so that the list
of commands answers at once.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = TypeVar("Command", bound=Callable[..., Any])
M = TypeVar("M")


def named(place: str) -> Callable[[str], list[str]]:
    """Completes a word to one of the names of "module:TABLE", in an expression its last word."""

    def complete(incomplete: str) -> list[str]:
        module, _, table = place.partition(":")
        before, word = re.fullmatch(r"(.*[^\w-])?([\w-]*)", incomplete, re.DOTALL).groups(default="")  # type: ignore[union-attr] # it always matches
        return [f"{before}{name}" for name in getattr(import_module(module), table) if name.startswith(word)]

    return complete


OBJECTIVE = named("bothways.objectives:OBJECTIVES")
TASK = named("bothways.tasks:TASKS")
FAMILY = named("bothways.model.huggingface.families:FAMILIES")
COMPLETED = {"objective": OBJECTIVE, "size": named("bothways.model.config:SIZES"), "task": TASK}
"""What completes a field of a record."""


def _setting(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes KEY=VALUE to the settings of the command."""
    known = ctx.command.settings if isinstance(ctx.command, SettingsCommand) else ()
    return [f"{name}=" for name, _ in known if name.startswith(incomplete)]


def repeated(*flags: str, metavar: str | None = None, about: str, complete: Callable[..., Any] | None = None) -> Any:
    """An option that may be given several times; none is an empty list."""
    return typer.Option(
        *flags,
        metavar=metavar,
        help=f"{about}; may be repeated.",
        default_factory=list,
        show_default=False,
        autocompletion=complete,
    )


Device = Annotated[
    str | None,
    typer.Option(help="Where to compute: cpu, cuda, cuda:1; left out, on a GPU where there is one."),
]
Processes = Annotated[int, typer.Option(min=1, help="On this machine; one a core is fastest on a CPU.")]
Restarts = Annotated[
    int,
    typer.Option("--max-restarts", min=0, help="How often processes that died or hang begin again, where they saved."),
]
Track = Annotated[
    Literal["tensorboard", "trackio"] | None,
    typer.Option(help="Send every figure there too; metrics.jsonl in the run's folder has them all the same."),
]
Settings = Annotated[list[str], repeated("--set", metavar="KEY=VALUE", about="Any setting: seed=1", complete=_setting)]
TaskName = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Which one, of a run of several tasks.", show_default=False)
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="A YAML file of settings, such as a run's config.yaml, or a recipe: a Python file."),
]


class SettingsCommand(TyperCommand):
    """A command whose help lists the settings that are no options of their own."""

    def __init__(self, *args: Any, settings: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command; a setting that is given as an option is said to be one."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = getattr(error, "option_name", None)  # of an unknown one: typer does not export the class
            if isinstance(option, str) and hasattr(error, "possibilities"):
                word = option.lstrip("-").replace("-", "_")
                names = [name for name, _ in self.settings if word in (name, name.rpartition(".")[2])]
                error.possibilities = [f"--set {name}=..." for name in names] or error.possibilities
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options, and below them the settings."""
        super().format_options(ctx, formatter)
        with formatter.section("Settings, by --set or in the file of --config"):
            formatter.write_dl(self.settings)


def from_record(record: str, *names: str, usual: str = "", **flags: str) -> Callable[[Command], Command]:
    """The command gets fields of "module:Class" as options, and as keyword arguments those that were given.

    names  of the fields
    usual  "module:NAME", a mapping: the command's own defaults, where they are not the record's; of a dataclass only
    flags  {field: how its option is called, or "" for an argument}, where that is not its name
    """

    def decorate(function: Command) -> Command:
        own = inspect.signature(function, eval_str=True)
        plain = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        spelled = {name: f"--{name.replace('_', '-')}" for name in names} | flags
        function.__dict__.update(__signature__=own.replace(parameters=plain), record=(record, spelled, usual))
        return function

    return decorate


def name_of(function: Callable[..., Any]) -> str:
    """What its command is called."""
    return function.__name__.replace("_", "-")


def whole(function: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """The command of a function, with the options of its record; `settings` are those of the command line."""
    app = typer.Typer(**settings)
    if record := getattr(function, "record", None):
        _, flags, _ = record
        known = fields_of_command(function)
        others = [one for one in _settings(known) if one[0] not in flags]
        app.command(cls=partial(SettingsCommand, settings=others))(_with_options(function, known, flags))  # type: ignore[arg-type]
    else:
        app.command()(function)
    found = typer.main.get_command(app)
    found.name = name_of(function)
    return found


def fields_of(kind: type, usual: Mapping[str, Any] = MappingProxyType({})) -> Mapping[str, FieldInfo]:
    """{name: its annotation, default, bounds and description} of a record, or of a dataclass annotated in that way,
    whose defaults are those of `usual` first."""
    from pydantic.fields import FieldInfo

    if not is_dataclass(kind):
        return kind.model_fields  # type: ignore[attr-defined,no-any-return] # it is a record
    hints = get_type_hints(kind, include_extras=True)
    defaults = {one.name: usual.get(one.name, one.default) for one in fields(kind)}
    return {name: FieldInfo.from_annotated_attribute(hints[name], default) for name, default in defaults.items()}


def fields_of_command(function: Callable[..., Any]) -> Mapping[str, FieldInfo]:
    """Those of the record of a command, with the command's own defaults."""
    record, _, usual = function.record  # type: ignore[attr-defined] # from_record puts it there
    return fields_of(_found(record), _found(usual) if usual else {})


def _found(path: str) -> Any:
    """What "module:NAME" names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _with_options(
    function: Callable[..., Any], known: Mapping[str, FieldInfo], flags: Mapping[str, str]
) -> Callable[..., Any]:
    @wraps(function)
    def command(context: typer.Context, **values: Any) -> Any:
        for name in flags:
            value = values.pop(name)
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                values[name] = value
        return function(context=context, **values)

    own = inspect.signature(function)
    made = [_parameter(name, known[name], flag) for name, flag in flags.items()]
    first = [one for one in made if not flags[one.name]]
    last = [one for one in made if flags[one.name]]
    parts = (*first, *last, *own.parameters.values())
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parts]
    command.__dict__["__signature__"] = own.replace(parameters=parameters)
    return command


def _parameter(name: str, field: FieldInfo, flag: str) -> inspect.Parameter:
    """A field as the parameter of a command."""
    inner = [one for one in get_args(field.annotation) if one is not NoneType]
    hint: Any = inner[0] if get_origin(field.annotation) in (Union, UnionType) else field.annotation
    many = get_origin(hint) is tuple
    hint = list[get_args(hint)[0]] if many else hint  # type: ignore[misc] # made while it runs
    default: Any = None if field.is_required() else field.default
    bounds = {name: getattr(bound, key) for bound in field.metadata for key, name in BOUNDS if hasattr(bound, key)}
    about = f"{field.description}{' May be repeated.' * many}{REQUIRED * field.is_required()}"
    complete = COMPLETED.get(name)
    if flag:
        info: Any = typer.Option(flag, help=about, autocompletion=complete, **bounds)
    else:
        info = typer.Argument(metavar=name.upper(), help=about, show_default=False, autocompletion=complete)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if many else default,
        annotation=Annotated[hint if many or default is not None else hint | None, info],
    )


MAY_GO_WITH_RESUME = ("resume", "out", "processes", "max_restarts", "device", "track", "json")
REQUIRED = "  [required, here or in the file of --config]"
BOUNDS = (("ge", "min"), ("le", "max"))


def _settings(known: Mapping[str, FieldInfo], below: str = "") -> Iterator[tuple[str, str]]:
    """(name, what it is and its default) of the fields of a record; those of a record in it have dotted names."""
    for name, field in known.items():
        if hasattr(field.annotation, "model_fields"):
            yield from _settings(fields_of(field.annotation), f"{below}{name}.")  # type: ignore[arg-type] # a record
        else:
            plain = isinstance(field.default, str | int | float)
            yield f"{below}{name}", f"{field.description}{f'  [default: {field.default}]' * plain}"


def configured(
    kind: type[M],
    given: Mapping[str, Any],
    *,
    file: Path | None,
    settings: Sequence[str],
    example: str,
    before: Mapping[str, Any] = MappingProxyType({}),
) -> M:
    """The record of a command: --set wins over options, these over the YAML file, that over what was `before`.

    Raises:
        UsageError: what must be given is not, or a value does not fit.
    """
    from bothways.config import load_config, read, with_settings
    from bothways.errors import UsageError

    values = {**before, **(load_config(file) if file else {})}
    values |= {name: _plain(value) for name, value in given.items()}
    values = with_settings(values, settings)
    if is_dataclass(kind):
        return kind(**values)
    missing = [name for name, field in fields_of(kind).items() if field.is_required() and name not in values]
    if missing and values.keys() <= fields_of(kind).keys():  # else a misspelt one is named
        raise UsageError(f"expected {' and '.join(missing)}, got none. For example: bothways {example}")
    return read(kind, values)  # type: ignore[type-var] # it is a record


def begun_in(
    kind: type[BaseModel], given: Mapping[str, Any], *, file: Path | None, settings: Sequence[str]
) -> Path | None:
    """The folder that a command writes its run to; None where it has not begun one."""
    from bothways.config import load_config, with_settings

    values = {**(load_config(file) if file else {}), **{name: _plain(value) for name, value in given.items()}}
    values = with_settings(values, settings)
    out = Path(values.get("out", kind.model_fields["out"].default))
    return out if (out / "config.yaml").is_file() else None


def _plain(value: Any) -> Any:
    """A value as YAML writes it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def refuse_beside_resume(context: typer.Context, folder: Path) -> None:
    """
    Raises:
        UsageError: what the run in this folder, which goes on with the settings there, would not heed.
    """
    from bothways.errors import UsageError

    if said := [shown for name, shown in options_given(context).items() if name not in MAY_GO_WITH_RESUME]:
        raise UsageError(f"--resume goes on with the settings in {folder / 'config.yaml'}: leave out {', '.join(said)}")


def options_given(context: typer.Context) -> dict[str, str]:
    """{parameter: how it stands on the command line}: {"skip_bad": "--skip-bad", "model": "MODEL"}."""
    shown = {one.name: one.opts[0] for one in context.command.params}
    return {
        name: shown[name] if shown[name].startswith("-") else name.upper()
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
