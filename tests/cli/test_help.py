"""Help says all that is to be known of an option, in every command: its default, whether it must be given, its text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bothways.cli import GROUPS, app
from bothways.cli.options import fields_of_command
from bothways.inference.decoding.options import CHAT, JUDGED, Options

COMMANDS = {command.__name__.replace("_", "-"): command for group in GROUPS.values() for command in group}


SHARED = {
    "--set",
    "--config",
    "--device",
    "--track",
    "--processes",
    "--max-restarts",
    "--json",
    "--resume",
}  # by commands of a kind
HEADINGS = ("", "Arguments:", "Options:", "Settings, by --set or in the file of --config:")


def words(text: str) -> str:
    return re.sub(r"(\w-) (?=\w)", r"\1", " ".join(text.split()))  # a line may end behind a hyphen


def helped(*command: str) -> str:
    shown = CliRunner().invoke(app, [*command, "--help"], catch_exceptions=False)
    assert shown.exit_code == 0
    return shown.output


def rows(shown: str) -> dict[str, str]:
    """{an option, or an argument: what is said of it}, of the lines below "Arguments:" and "Options:"."""
    found: dict[str, str] = {}
    name = ""
    for line in shown.splitlines():
        if re.match(r"  \S", line):
            name, _, line = line.strip().partition(" ")
            name = name.rstrip(",.")
        if line not in HEADINGS:
            found[name] = f"{found.get(name, '')} {line}"
    return {name: words(text) for name, text in found.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_its_text_its_default_and_whether_it_is_required(name: str) -> None:
    shown = rows(helped(name))
    for one in typer.main.get_command(app).get_command(None, name).params:  # type: ignore[attr-defined]
        said = shown[one.opts[0] if one.opts[0].startswith("-") else one.metavar or one.name]
        assert words(one.help or "Show this message") in said
        facts = said.rpartition("  ")[2]
        if one.required:
            assert re.search(r"\[[^]]*required\]$", facts), said
        elif one.default not in (None, False, [], ()) and one.show_default:
            default = ", ".join(one.default) if isinstance(one.default, list) else one.default
            assert re.search(rf"\[default: {re.escape(str(default))}(;[^]]*)?\]$", facts), said


def test_the_groups_and_the_first_words_of_every_command_are_shown() -> None:
    shown = helped()
    for group, commands in GROUPS.items():
        section = shown.partition(f"\n{group}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines() if re.match("  [a-z]", line)] == [
            command.__name__.replace("_", "-") for command in commands
        ]
        for command in commands:
            assert words((command.__doc__ or "").partition("\n\n")[0]) in words(section)


def test_what_is_wrong_is_said_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = CliRunner().invoke(app, ["verify", "shards", "[/b] " * 30])
    assert said.exit_code == 2 and f"({'[/b] ' * 30})" in said.output


def test_a_run_goes_on_by_the_same_option_in_every_command_that_trains() -> None:
    for name in ("pretrain", "finetune"):
        shown = helped(name)
        assert "--resume" in shown and "--no-resume" not in shown


@pytest.mark.parametrize(("name", "usual"), [("chat", CHAT), ("judge", JUDGED)])
def test_a_command_shows_its_own_defaults(name: str, usual: Options) -> None:
    known = fields_of_command(COMMANDS[name])
    assert {one: known[one].default for one in usual} == usual
    assert f"[default: {usual['max_new_tokens']}" in rows(helped(name))["--max-new-tokens"]


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if hasattr(command, "record")])
def test_settings_that_are_no_options_are_listed(name: str) -> None:
    """Every field of the record is an option, an argument or a setting; its default stands beside it."""
    fields, flags = fields_of_command(COMMANDS[name]), COMMANDS[name].record[1]  # type: ignore[attr-defined]
    shown = helped(name)
    settings = rows(shown[shown.index("Settings, by --set") :])
    for field, one in fields.items():
        if field in flags:
            assert (flags[field] or field.upper()) in rows(shown)
        elif not hasattr(one.annotation, "model_fields"):
            assert words(one.description) in settings[field]
            assert (
                one.default is None
                or not isinstance(one.default, str)
                or f"[default: {one.default}]" in settings[field]
            )
        else:
            assert any(line.startswith(f"{field}.") for line in settings)


def test_a_setting_wins_over_an_option_and_this_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("size: 24x2048\nlength: 64\nprice: 3\n", encoding="utf-8")
    options = ["--config", str(tmp_path / "given.yaml"), "--hardware", "2xh100@50%", "--tokens", "1B", "--json"]

    def money(*more: str) -> float:
        shown = CliRunner().invoke(app, ["plan", *options, *more], catch_exceptions=False)
        return float(json.loads(shown.stdout)["money"])

    assert money("--price", "6") == pytest.approx(2 * money())
    assert money("--price", "6", "--set", "price=12") == pytest.approx(4 * money())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_settings_has_at_most_ten_options_of_its_own(name: str) -> None:
    options, _, settings = helped(name).partition("Options:")[2].partition(HEADINGS[-1])
    assert not settings or len({*re.findall(r"^  (--[\w-]+)", options, re.MULTILINE)} - SHARED) <= 10


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if hasattr(command, "record")])
def test_what_a_record_requires_is_shown_as_required(name: str) -> None:
    shown, flags = rows(helped(name)), COMMANDS[name].record[1]  # type: ignore[attr-defined]
    for field, one in fields_of_command(COMMANDS[name]).items():
        if field in flags:
            said = shown[flags[field] or field.upper()]
            assert said.endswith("[required, here or in the file of --config]") == one.is_required()
