"""The package that users get: built, installed in an empty environment, tried there without and with its extras.

    python scripts/wheel.py [FOLDER]

FOLDER is kept for a look afterwards; left out, a temporary one is used. The versions are those of constraints.txt.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "src" / "bothways"
DATA = ("py.typed", "html/templates/*", "model/huggingface/card.md")
EXTRAS = {"hf": "transformers, sentence_transformers", "parquet": "pyarrow", "chinese": "jieba"}
"""{extra: what it makes importable}; the extras for developers are tried by the tests."""
TEXT = "\n\n".join(f"The {i}th boat went down the river with {i * i} bags of grain." for i in range(400))
SMALL = ("--set", "model.layers=1", "--set", "training.step_tokens=256", "--set", "training.micro_tokens=256")


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """What a command prints.

    Raises:
        SystemExit: it ended otherwise than expected.
    """
    done = subprocess.run([*map(str, words)], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != code:
        print(done.stdout[-2000:], done.stderr[-2000:], sep="\n")
        sys.exit(f"{' '.join(map(str, words))}: expected exit code {code}, got {done.returncode}")
    return done.stdout + done.stderr


def expect(held: bool, what: str) -> None:
    """
    Raises:
        SystemExit: it does not hold.
    """
    if not held:
        sys.exit(f"not so in the package: {what}")


def build(folder: Path) -> Path:
    """The wheel, of a copy without what earlier builds left."""
    copy = folder / "source"
    shutil.copytree(PACKAGE, copy / "src" / "bothways", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, copy)
    run(sys.executable, "-m", "pip", "wheel", copy, "--no-deps", "--quiet", "--wheel-dir", folder, folder=folder)
    (wheel,) = folder.glob("bothways-*.whl")
    return wheel


def try_bare(folder: Path, binaries: Path) -> None:
    """Entry point, data files, and a whole run; what needs an extra says which."""
    data = [one.relative_to(PACKAGE).as_posix() for pattern in DATA for one in PACKAGE.glob(pattern)]
    found = "import bothways, pathlib; print(pathlib.Path(bothways.__file__).parent)"
    installed = Path(run(binaries / "python", "-c", found, folder=folder).strip())
    expect(installed.is_relative_to(binaries.parent), f"the package is the installed one, got {installed}")
    missing = [name for name in data if not (installed / name).exists()]
    expect(len(data) > 10 and not missing, f"data files {missing}")
    bothways = binaries / "bothways"
    expect("bothways 0" in run(bothways, "--version", folder=folder), "the entry point")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    run(bothways, "prepare", "text.txt", "--out", "shards", "--vocabulary", "600", folder=folder)
    run(bothways, "pretrain", "shards", "--out", "run", "--budget", "2steps", *SMALL, folder=folder)
    expect("</html>" in (folder / "run" / "report.html").read_text(encoding="utf-8"), "the page of a run")
    expect("Bothways" in (folder / "run" / "encoder" / "README.md").read_text(encoding="utf-8"), "the model card")
    run(bothways, "fill", "run", "The boat went down the [MASK].", folder=folder)
    (folder / "text.parquet").write_bytes(b"PAR1")
    said = run(bothways, "prepare", "text.parquet", "--out", "none", folder=folder, code=6)
    expect("bothways[parquet]" in said, f"the extra that is missing is named, got {said}")


def try_extras(folder: Path, binaries: Path) -> None:
    """What each extra is for."""
    for names in EXTRAS.values():
        run(binaries / "python", "-c", f"import {names}", folder=folder)
    load = "from transformers import AutoModelForMaskedLM as M; print(type(M.from_pretrained('run/encoder')).__name__)"
    expect("EuroBertForMaskedLM" in run(binaries / "python", "-c", load, folder=folder), "transformers loads it")


def check(folder: Path) -> None:
    """All of it, in a folder of its own."""
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {what}", flush=True)

    wheel = build(folder)
    tell(f"built {wheel.name}")
    run(sys.executable, "-m", "venv", folder / "empty", folder=folder)
    binaries = folder / "empty" / "bin"
    versions = ("--constraint", REPOSITORY / "constraints.txt")
    install = (binaries / "python", "-m", "pip", "install", "--quiet", "--no-compile", *versions)
    run(*install, wheel, folder=folder)
    tell("installed in an empty environment")
    try_bare(folder, binaries)
    tell("entry point, data files and a run: as they should be")
    run(*install, f"{wheel}[{','.join(EXTRAS)}]", folder=folder)
    tell(f"installed the extras {', '.join(EXTRAS)}")
    try_extras(folder, binaries)
    tell("extras: as they should be")


def main() -> None:
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1]).resolve()
        folder.mkdir(parents=True)
        check(folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            check(Path(name))


if __name__ == "__main__":
    main()
