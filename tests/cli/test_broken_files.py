"""A damaged or hostile file ends a command with a message that names it; what it would run is not run.

The full numbers are those of proofs/broken_files.py.
"""

from __future__ import annotations

import gzip
import json
import pickle
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings

from bothways.text import Tokenizer, train_tokenizer
from tests.broken import CONFIGS, RAW, STRINGS, ask, mutation, tokenized, unlike

READ = {
    "config.json": 5,
    "bothways.json": 5,
    "model.safetensors": 5,
    "tokenizer.json": 3,
    "tokenizer_config.json": 3,
}
"""{file of a model: the exit code of a command that finds it broken}"""

UNSEALED = shutil.ignore_patterns("SHA256SUMS")  # which would find them first


class Runs:
    """A pickle that leaves a trace where it is opened."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("file", READ)
def test_a_broken_file_of_a_model_is_named(run: Path, file: str, tmp_path: Path) -> None:
    broken = tmp_path / "encoder"
    shutil.copytree(run / "encoder", broken, ignore=UNSEALED)
    harmless = {"an object without a key"} if file == "tokenizer_config.json" else set()
    for what, content in {**RAW, "cut": (broken / file).read_bytes()[:-9]}.items():
        (broken / file).write_bytes(content)
        code, said = ask("fill", broken, "the [MASK]")
        assert (code == READ[file] and file in said) or what in harmless, (what, code, said)
        assert "Traceback" not in said and len(said) < 2000


@pytest.mark.parametrize("file", ["index.json", "tokenizer/tokenizer.json", "train-00000.tokens"])
def test_a_broken_file_of_shards_is_named(shards: Path, file: str, tmp_path: Path) -> None:
    broken = tmp_path / "shards"
    shutil.copytree(shards, broken)
    name = file if (broken / file).is_file() else next(broken.glob("train*.tokens")).name
    for content in (*RAW.values(), (broken / name).read_bytes()[:-2]):
        (broken / name).write_bytes(content)
        code, said = ask("verify", broken)
        assert code == 3 and Path(name).name in said and "Traceback" not in said, (content[:20], code, said)


@pytest.mark.parametrize("file", ["config.yaml", "manifest.json", "metrics.jsonl", "state.json"])
def test_a_broken_file_of_a_run_is_named(run: Path, file: str, tmp_path: Path) -> None:
    broken = tmp_path / "run"
    shutil.copytree(run, broken)
    path = broken / file if file != "state.json" else max((broken / "checkpoints").iterdir()) / file
    for what in ("a list", "nested lists", "another encoding", "a pickle"):
        path.write_bytes(RAW[what])
        code, said = ask("pretrain", "--resume", "--out", broken)
        assert code in (2, 5) and file in said and "Traceback" not in said, (what, code, said)


def test_another_version_is_said(run: Path, shards: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "encoder", tmp_path / "encoder", ignore=UNSEALED)
    shutil.copytree(shards, tmp_path / "shards")
    note, index = tmp_path / "encoder" / "bothways.json", tmp_path / "shards" / "index.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"version": 99}))
    told = json.loads(index.read_text())
    index.write_text(json.dumps(told | {"manifest": told["manifest"] | {"version": 99}}))
    for words, code in ((("fill", note.parent, "a [MASK]"), 5), (("verify", index.parent), 3)):
        found, said = ask(*words)
        assert found == code and "version 99" in said


def test_another_vocabulary_is_said(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "encoder", tmp_path / "encoder", ignore=UNSEALED)
    train_tokenizer([f"word {number} of another text" * 3 for number in range(900)], size=900).save(
        tmp_path / "encoder"
    )
    code, said = ask("fill", tmp_path / "encoder", "a [MASK]")
    assert code == 5 and "do not belong together" in said


def test_pickles_are_never_opened(run: Path, tmp_path: Path) -> None:
    """As weights, beside them, as a tokenizer, a record, a checkpoint's index or text: refused, or not looked at."""
    trace = tmp_path / "trace"
    pickled, found = pickle.dumps(Runs(trace)), 0
    pickle.loads(pickled)  # noqa: S301 - it does what it is for
    assert trace.exists()
    trace.unlink()
    for name in (
        "pytorch_model.bin",
        "model.pt",
        "model.safetensors",
        "tokenizer.json",
        "config.json",
        "bothways.json",
    ):
        broken = tmp_path / name
        shutil.copytree(run / "encoder", broken, ignore=UNSEALED)
        if name in ("pytorch_model.bin", "model.pt"):
            (broken / "model.safetensors").unlink()
        (broken / name).write_bytes(pickled)
        code, said = ask("fill", broken, "a [MASK]")
        assert code in (3, 5) and Path(name).name in said and "Traceback" not in said, said
        found += 1
    shutil.copytree(run, tmp_path / "run")
    last = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda path: int(path.name[5:]))
    (last / ".metadata").write_bytes(pickled)
    code, said = ask("pretrain", "--resume", "--out", tmp_path / "run", "--budget", "9steps")
    assert code == 5 and ".metadata" in said
    for name in ("a.jsonl", "a.parquet", "a.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(pickled) if name.endswith(".gz") else pickled)
        code, said = ask("prepare", tmp_path / name, "--out", tmp_path / "made")
        assert code in (2, 3) and name in said
    assert found == 6 and not trace.exists()


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_broken_configuration_is_a_usage_error(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, values = CONFIGS[kind]
    for number in range(12):
        broken = mutation(values, random.Random(f"{kind} {number}"))
        Path("config.yaml").write_bytes(broken.content)
        code, said = ask(*words, "--config", "config.yaml")
        assert not unlike(broken, code, said), (broken, said)


@pytest.fixture(scope="module", params=["bpe", "wordpiece"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(
        ["the quick brown fox, 语言模型; שלום עולם 12345 \t naïve"] * 30, size=600, kind=request.param
    )


@given(text=STRINGS)
@settings(max_examples=300)
def test_a_string_of_any_script_is_read_or_refused_by_name(tokenizer: Tokenizer, text: str) -> None:
    assert not tokenized(tokenizer, text).startswith("fault")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("fill", "x" * 300, "a [MASK]"), "xxx"),
        (("prepare", "x" * 300, "--out", "s"), "xxx"),
        (("fill", "bad\udcff", "a [MASK]"), r"bad\udcff"),
        (("nearest", "a\nb\t\x1b[31m.vec", "word"), "a\nb\t\\x1b[31m.vec"),
    ],
)
def test_a_name_that_cannot_be_is_refused_at_once(words: tuple[str, ...], name: str) -> None:
    code, said = ask(*words)
    assert code in (2, 3, 5) and name in said and "Traceback" not in said and "\x1b" not in said
    said.encode()


def test_a_folder_of_a_name_that_no_index_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(str(tmp_path / "folder") + "\udcff")
    folder.mkdir()
    (folder / "a.txt").write_text("a text")
    monkeypatch.chdir(folder)
    code, said = ask("prepare", ".", "--out", "../shards")
    assert code == 2 and r"folder\udcff" in said and not (tmp_path / "shards").exists()


def test_a_name_with_a_line_end_works_to_the_end(tmp_path: Path) -> None:
    text, out = tmp_path / "a\nb\t.txt", tmp_path / "sh\nards\t"
    text.write_text("\n".join(f"the {number}th boat of {number * number} bags" for number in range(300)))
    for words in (("prepare", text, "--out", out, "--documents", "lines", "--vocabulary", 512), ("verify", out)):
        code, said = ask(*words)
        assert code == 0, said
