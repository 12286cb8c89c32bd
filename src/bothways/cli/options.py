"""Options of a command that are fields of a record: name, default, help and bounds stand once, in the record.

Records need pydantic, and what they describe needs torch: they are looked up when their command is, so that the list
of commands answers at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Command = TypeVar("Command", bound=Callable[..., Any])
M = TypeVar("M", bound="BaseModel")


def repeated(*flags: str, metavar: str | None = None, about: str) -> Any:
    """An option that may be given several times; none is an empty list."""
    about = f"{about}; may be repeated."
    return typer.Option(*flags, metavar=metavar, help=about, default_factory=list, show_default=False)


Settings = Annotated[list[str], repeated("--set", metavar="KEY=VALUE", about="Any setting: seed=1")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of settings, such as a run's config.yaml.")
]


class SettingsCommand(TyperCommand):
    """A command whose help lists the settings that are no options of their own."""

    def __init__(self, *args: Any, settings: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options, and below them the settings."""
        super().format_options(ctx, formatter)
        with formatter.section("Settings, by --set or in the file of --config"):
            formatter.write_dl(self._settings)


def from_record(record: str, *names: str, **flags: str) -> Callable[[Command], Command]:
    """The command gets fields of "module:Class" as options, and as keyword arguments those that were given.

    names  of the fields; flags  {field: how its option is called, or "" for an argument}, where that is not its name
    """

    def decorate(function: Command) -> Command:
        own = inspect.signature(function, eval_str=True)
        plain = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        spelled = {name: f"--{name.replace('_', '-')}" for name in names} | flags
        function.__dict__.update(__signature__=own.replace(parameters=plain), record=(record, spelled))
        return function

    return decorate


def name_of(function: Callable[..., Any]) -> str:
    """What its command is called."""
    return function.__name__.replace("_", "-")


def whole(function: Callable[..., Any], settings: Mapping[str, Any]) -> Any:
    """The command of a function, with the options of its record; `settings` are those of the command line."""
    app = typer.Typer(**settings)
    if record := getattr(function, "record", None):
        path, flags = record
        module, _, name = path.partition(":")
        kind = getattr(import_module(module), name)
        others = [one for one in _settings(kind) if one[0] not in flags]
        app.command(cls=partial(SettingsCommand, settings=others))(_with_options(function, kind, flags))  # type: ignore[arg-type]
    else:
        app.command()(function)
    found = typer.main.get_command(app)
    found.name = name_of(function)
    return found


def _with_options(function: Callable[..., Any], kind: type[BaseModel], flags: Mapping[str, str]) -> Callable[..., Any]:
    @wraps(function)
    def command(context: typer.Context, **values: Any) -> Any:
        for name in flags:
            value = values.pop(name)
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                values[name] = value
        return function(context=context, **values)

    own = inspect.signature(function)
    made = [_parameter(name, kind.model_fields[name], flag) for name, flag in flags.items()]
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
    about = f"{field.description}{' May be repeated.' * many}"
    if flag:
        info: Any = typer.Option(flag, help=about, **bounds)
    else:
        info = typer.Argument(metavar=name.upper(), help=about, show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if many else default,
        annotation=Annotated[hint if many or default is not None else hint | None, info],
    )


BOUNDS = (("ge", "min"), ("le", "max"))


def _settings(kind: type[BaseModel], below: str = "") -> Iterator[tuple[str, str]]:
    """(name, what it is and its default) of the settings of a record; those of a record in it have dotted names."""
    for name, field in kind.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from _settings(field.annotation, f"{below}{name}.")  # type: ignore[arg-type] # it is a record
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
    missing = [name for name, field in kind.model_fields.items() if field.is_required() and name not in values]
    if missing:
        raise UsageError(f"expected {' and '.join(missing)}, got none. For example: bothways {example}")
    return read(kind, values)


def _plain(value: Any) -> Any:
    """A value as YAML writes it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def options_given(context: typer.Context) -> dict[str, str]:
    """{parameter: how it stands on the command line}: {"skip_bad": "--skip-bad", "model": "MODEL"}."""
    shown = {one.name: one.opts[0] for one in context.command.params}
    return {
        name: shown[name] if shown[name].startswith("-") else name.upper()
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None and source.name == "COMMANDLINE"
    }
