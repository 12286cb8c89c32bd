"""Models by their name on the hub: found in its cache without a network, or an error that says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from bothways.errors import ModelError
from bothways.model import local
from tests.inference.made import make_run

ROOT = Path(__file__).resolve().parents[3]


def asked(script: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the hub's own library leaves it after a download."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "hub" / "models--someone--small"
    made = make_run(home / "made")
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0123abcd")
    shutil.copytree(made / "encoder", folder / "snapshots" / "0123abcd")
    return home


def test_a_name_is_looked_up_in_the_cache(cache: Path) -> None:
    done = asked("import bothways; print(bothways.load('someone/small').embed('a text').shape)", cache)
    assert (done.stdout.strip(), done.returncode) == ("(64,)", 0), done.stderr


def test_what_is_not_there_is_an_error_in_one_line(cache: Path) -> None:
    done = asked("import sys; from bothways.cli import main; sys.argv[1:] = ['embed', 'no/such', 'x']; main()", cache)
    assert done.returncode == 5
    assert "no/such: there is no such folder here, and the Hugging Face hub did not give" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", ["ConnectError", "ProxyError", "ReadTimeout", "ReadError"])
def test_a_connection_that_fails_is_an_error_in_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no OSErrors. What they are of, httpx or what came after it, is for the hub's library to say."""
    package = sys.modules[errors.HTTPError.__module__.partition(".")[0]]

    def refused(*args: Any, **kwargs: Any) -> None:
        raise getattr(package, kind)("[Errno 104] Connection reset by peer")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    with pytest.raises(ModelError, match=r"someone/small: there is no such folder here, .* \(\[Errno 104\] Connection"):
        local("someone/small")


def test_a_large_file_that_breaks_off_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Data processing error: CAS service error")  # hf_xet's

    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    with pytest.raises(ModelError, match=r"did not give .* \(Data processing error: CAS service error\)"):
        local("someone/small")


def test_weights_that_stand_there_twice_are_fetched_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fetched: list[str] = []

    def download(name: str, *, allow_patterns: list[str], ignore_patterns: list[str] | None = None) -> str:
        there = ["model.safetensors", "config.json", "consolidated.safetensors", "consolidated.00-of-01.safetensors"]
        there += ["original/params.json", "original/consolidated.00.safetensors", "1_Pooling/config.json"]
        given = {"allow_patterns": allow_patterns, "ignore_patterns": ignore_patterns}
        fetched.extend(huggingface_hub.utils.filter_repo_objects(there, **given))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert local("someone/small") == tmp_path
    assert fetched == ["model.safetensors", "config.json", "1_Pooling/config.json"]


def test_paths_are_never_asked_of_the_hub(tmp_path: Path) -> None:
    assert local(tmp_path) == tmp_path
    for path in ("runs/en/encoder", "/no/such", "./model", "../model"):
        assert local(path) == Path(path)
