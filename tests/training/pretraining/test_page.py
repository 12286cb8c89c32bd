"""The run's report: well formed, self-contained, honest."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from urllib.parse import unquote

import pytest

from bothways.training.pretraining.page import write_report
from tests.training.pretraining.fake_run import CONFIG, manifest, metrics, write_run

VOID = frozenset({"br", "hr", "input", "link", "meta"})


class Page(HTMLParser):
    """Checks that every element is closed where it should be; keeps the text, and what is asked for from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "srcset", "action"}]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.text += data


def read(folder: Path) -> Page:
    written = write_report(folder)
    assert written == folder / "report.html"
    html = written.read_text(encoding="utf-8")
    page = Page(html)
    assert page.links[0] == "data:,"
    assert all(link.startswith("data:text/csv") for link in page.links[1:])
    assert not re.search(r"https?:|url\((?!#)|@import|//[a-z]", html)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("script") == 1
    assert not list(folder.glob("*.new"))
    return page


def test_a_whole_run(tmp_path: Path) -> None:
    page = read(write_run(tmp_path / "hybrid-tiny"))
    assert (
        "needs 1.701 bits for a byte of held-out text: less than any n-gram model (the best needs 1.965)." in page.text
    )
    assert "Right: list" in page.text and "Perplexity" in page.text
    assert "predicts 23.6% of hidden tokens right, 4.6 times what always guessing" in page.text
    for said in ("hybrid-tiny", "done", "16.4M", "0:04:54", "1.85M", "unigram", "bigram", "trigram", "2.13.0+cpu"):
        assert said in page.text
    for title in (
        "Loss: causal",
        "Loss: mlm",
        "Bits per byte",
        "Next tokens predicted right",
        "Hidden tokens predicted right",
    ):
        assert title in page.text
    assert "minutes of training" in page.text
    assert page.tags.count("figure") == 10 + 1  # and the lengths of documents
    assert page.tags.count("svg") == 10 * 4 + 1
    assert "1.31" in page.text and "Tokens a word" in page.text
    assert CONFIG.strip() in page.text


def test_the_numbers_of_a_picture_are_those_of_the_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=100)
    page = read(folder)
    links = [unquote(link.partition(",")[2]) for link in page.links[1:]]
    head, *rows = next(rows for link in links if "unigram" in (rows := list(csv.reader(StringIO(link))))[-3])
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    expected = [(line["step"], line["losses"]["causal"]) for line in lines if line["kind"] == "validation"]
    found = [dict(zip(head, row, strict=True)) for row in rows if row[0] == "held-out text"]
    assert [int(one["step"]) for one in found] == [step for step, _ in expected]
    assert [float(one["value"]) for one in found] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert rows[-1][0] == "trigram" and rows[-1][1:-1] == [""] * (len(head) - 2)


def test_it_says_so_when_counting_does_better(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    told = manifest()
    told["baselines"]["trigram"]["bits_per_byte"] = 1.6
    (folder / "manifest.json").write_text(json.dumps(told))
    assert "less than the bigram, but no less than the trigram (1.600)." in read(folder).text
    for gram in told["baselines"].values():
        gram["bits_per_byte"] = 1.5
    (folder / "manifest.json").write_text(json.dumps(told))
    page = read(folder)
    assert "no less than the unigram (1.500)." in page.text
    assert "ahead by 0.201" in page.text


def test_a_verdict_is_not_held_against_counting(tmp_path: Path) -> None:
    """ELECTRA's discriminator says original or replaced, and no token."""
    folder = write_run(tmp_path / "run")
    lines = [line | {"losses": {"generator": 5.0, "discriminator": 0.3}, "bits_per_byte": {}} for line in metrics(60)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = read(folder)
    assert "beaten by 1.872" in page.text and "beaten by 6.572" not in page.text
    html = (folder / "report.html").read_text(encoding="utf-8")
    charts = {title: card for card, title in re.findall(r"(<figure.*?<h3>Loss: (.*?)</h3>.*?</figure>)", html)}
    assert "unigram" in charts["generator"] and "unigram" not in charts["discriminator"]
    assert "Dashed" not in charts["discriminator"]


def test_it_says_when_not_all_was_counted(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    told = manifest()
    told["baselines"]["unigram"] |= {"counted": 20_000_000, "of": 64_000_000}
    (folder / "manifest.json").write_text(json.dumps(told))
    assert "counted 20,000,000 of the 64,000,000 tokens of the training text" in read(folder).text


def test_everything_is_escaped(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>&\"'"
    folder = write_run(tmp_path / "run & <b>")
    told = manifest()
    told["status"] = evil
    told["versions"][evil] = evil
    told["samples"] = {
        "fills": [{"text": f"{evil} [MASK]", "hidden": evil, "answers": [{"token": evil, "probability": 0.5}]}],
        "continuations": [{"prompt": evil, "text": evil + evil}],
    }
    (folder / "manifest.json").write_text(json.dumps(told))
    (folder / "config.yaml").write_text(evil)
    lines = [line | {"losses": {evil: 2.0}, "bits_per_byte": {evil: 1.0}} for line in metrics(40)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = read(folder)
    assert page.text.count(evil) >= 8


def test_what_a_run_has_not_measured_is_left_out(tmp_path: Path) -> None:
    """Of another objective, or since it was not finite (null in metrics.jsonl)."""
    folder = write_run(tmp_path)
    absent = {"bits_per_byte": {}, "fill_accuracy": None, "next_accuracy": None, "tokens_per_second": None}
    lines = [line | absent | {"losses": {"causal": None}} for line in metrics(60)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = read(folder)
    assert "Loss: causal" in page.text and "predicted right" not in page.text.partition("Over the run")[0]


def test_a_share_of_more_than_the_peak_is_no_figure(tmp_path: Path) -> None:
    folder = write_run(tmp_path)
    lines = [line | ({"useful_share": None} if line["step"] == 30 and "loss" in line else {}) for line in metrics(60)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "MFU; 1 step above the measured peak" in read(folder).text


def test_steps_that_were_skipped_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = [line | ({"skipped": 3, "spikes": 1} if line["kind"] == "train" else {}) for line in metrics(60)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "3 steps skipped because a number was not finite." in read(folder).text
    assert "1 step not learned because the loss was a spike" in read(folder).text
