"""What pictures promise: colours and legends that agree, nothing squeezed by one outlier, no control characters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bothways.evaluation.inspection.layerwise import Layer
from bothways.evaluation.inspection.layerwise_page import render
from bothways.html import Cell, TableRow, kit, token_name
from bothways.html.charts import COLOURS, GREY, colours_of
from bothways.html.intervals import Dot, figure
from bothways.html.page import TEMPLATES
from bothways.training.pretraining.page import write_report
from tests.training.pretraining.fake_run import manifest, metrics, write_run


def cards(page: str) -> dict[str, str]:
    """{title: the figure under it}"""
    return {title: card for card, title in re.findall(r"(<figure.*?<h3>(.*?)</h3>.*?</figure>)", page)}


@pytest.mark.parametrize("order", [["causal", "mlm"], ["mlm", "causal"], ["mlm", "diffusion", "x -> y", "causal"]])
def test_an_objective_has_one_colour_whatever_its_company(order: list[str]) -> None:
    found = colours_of(order)
    assert list(found) == order and (found["causal"], found["mlm"]) == (0, 1)
    assert len({*found.values()}) == len(order) and GREY not in found.values()


def test_more_objectives_than_colours_begin_anew() -> None:
    found = colours_of(f"own {i}" for i in range(2 * COLOURS))
    assert {*found.values()} == {*range(COLOURS)} - {GREY}
    assert colours_of(["a", "causal"])["a"] != 0


@pytest.mark.parametrize("first", ["causal", "mlm"])
def test_a_run_draws_an_objective_in_one_colour(first: str, tmp_path: Path) -> None:
    """Whatever loss was measured first; next tokens are causal's, hidden ones mlm's."""
    folder = write_run(tmp_path / "run", steps=100)
    lines = [line | {"losses": dict(sorted(line["losses"].items(), reverse=first == "mlm"))} for line in metrics(100)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = cards(write_report(folder).read_text(encoding="utf-8"))
    expected = {
        "Loss: causal": "0",
        "Bits per byte": "0",
        "Next tokens predicted right": "0",
        "Loss: mlm": "1",
        "Hidden tokens predicted right": "1",
        "Speed": str(GREY),
    }
    assert {title: {*re.findall(r"colour-(\d)", found[title])} for title in expected} == {
        title: {colour} for title, colour in expected.items()
    }


def test_the_legend_is_in_the_order_of_the_table_and_of_what_one_points_at() -> None:
    names = ["one", "two", "three"]
    page = render({name: [Layer(0.5 + i / 10, 0.4, 0.3)] * 2 for i, name in enumerate(names)}, task="tag")
    (card,) = (card for title, card in cards(page).items() if title == "Accuracy")
    assert re.findall(r"</i>(\w+) <b>", card) == names
    assert re.findall(r'<p class="about">(\w+)</p>', page) == names
    drawn = re.findall(r'<path[^>]*data-name="(\w+)"', card)
    assert drawn == names[::-1]  # the first above the others; the script lists them from the top


def test_the_card_and_the_chart_tell_one_speed(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=100)
    speeds = [*range(400, 520), *range(2000, 2003)]
    train, validation = (
        [line for line in metrics(len(speeds), every=1) if line["kind"] == kind] for kind in ("train", "validation")
    )
    told = zip(train, speeds, strict=True)
    lines = [line | {"tokens_per_second": speed, "useful_share": speed / 4000} for line, speed in told]
    lines += validation[-1:]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert '<dt>Speed</dt><dd class="figure">461</dd><dd class="unit">tokens a second, 11.5% MFU (medians)' in page
    assert "<b>461 (median)</b>" in cards(page)["Speed"]
    assert "<b>11.5% (median)</b>" in cards(page)["MFU"]


def dots(*outlier: Dot) -> list[Dot]:
    return [Dot(str(i), name, 2 + i / 100, 1.9, 2.2) for i in range(3) for name in ("a", "b")] + list(outlier)


def places(drawn: str) -> list[float]:
    return [float(x) for x in re.findall(r"translate\(([\d.]+) ", drawn)]


@pytest.mark.parametrize(("value", "arrow"), [(30.0, "30.000 →"), (-30.0, "← -30.000")])
def test_one_outlier_does_not_squeeze_the_others(value: float, arrow: str) -> None:
    plain = figure("bits", "Bars.", dots(), colours={"a": 0, "b": 1, "c": 2})
    drawn = figure("bits", "Bars.", dots(Dot("0", "c", value, value - 5, value + 5)), colours={"a": 0, "b": 1, "c": 2})
    assert places(drawn) == places(plain) and max(places(drawn)) - min(places(drawn)) > 20
    assert f">{arrow}</text>" in drawn and "Arrows: values beyond the edge." in drawn
    assert f"<b>{value:.3f}</b>" in drawn and "Arrows" not in plain


def test_what_is_spread_is_shown_whole() -> None:
    """A share near 0 among shares near 1 leaves these room enough; two models far apart are no outliers."""
    wide = [Dot("all", str(i), i / 10, i / 10 - 0.05, i / 10 + 0.05) for i in (1, 7, 8, 9)]
    assert len(places(figure("x", "", wide, colours={"1": 0, "7": 1, "8": 2, "9": 3}))) == 4
    two = [Dot("all", "a", 2, 1.9, 2.1), Dot("all", "b", 30, 29, 31)]
    assert len(places(figure("x", "", two, colours={"a": 0, "b": 1}, chance=0.5))) == 2


def test_whatever_is_shown_is_escaped_and_control_characters_are_drawn_as_signs() -> None:
    row = TableRow("a\x00b\x1b[31m\x7f\r\x85c\ud800\n\t", ["<i> & '", Cell("1.5", "<b>", "beaten", bold=True), None])
    assert kit("table", ["", "one", "two", "three"], [row]).endswith(
        '<tbody><tr><th scope="row">a␀b␛[31m␡␍\ufffdc\ufffd\n\t</th><td class="text">&lt;i&gt; &amp; &#39;</td>'
        '<td><b>1.5</b><small class="beaten">&lt;b&gt;</small></td><td>–</td></tr></tbody></table></div>'
    )
    assert kit("facts", [("x", kit("swatch", 3))]).count('<i class="swatch colour-3"></i>') == 1  # markup is ours


def test_texts_stand_at_the_left_and_figures_at_the_right() -> None:
    rows = [
        TableRow("a", ["0.5", "the cat", "a tie", None]),
        TableRow("b", [Cell("−1.5 (−2 to −1)", bold=True), "3 cats", "better", None]),
        TableRow("c", ["no more", Cell("so"), None, None]),
        TableRow("d", ["≤ 2", "", "worse", None]),
    ]
    found = kit("table", ["", "score", "written", "verdict", "nothing"], iter(rows))
    assert re.findall(r'scope="col" class="text">(\w+)<', found) == ["written", "verdict"]
    for row in re.findall(r"<tr><th scope=\"row\">.*?</tr>", found):
        assert [part.startswith(' class="text"') for part in row.split("<td")[1:]] == [False, True, True, False]
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    assert ".wide th.text, .wide td.text { text-align: left; }" in style


def test_no_page_holds_a_control_character(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run\x1b", steps=60)
    told = manifest()
    answers = [{"token": token, "probability": 0.1} for token in ("\x00", " \x1b", "\n", " ")]
    told["samples"] = {
        "fills": [{"text": "a [MASK]\x0c b", "hidden": "\x0b", "answers": answers}],
        "continuations": [{"prompt": "\x08", "text": "\x08"}],
    }
    (folder / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", page)
    assert "<span>␀</span>" in page and "<span>(new line)</span>" in page and "<span>(space)</span>" in page


def test_tokens_are_named() -> None:
    assert [token_name(token) for token in (" list", "\n\n", "  ", "\t", "\x00")] == [
        "list",
        "(new line)",
        "(space)",
        "(space)",
        "\x00",
    ]


def test_a_long_name_of_a_group_is_cut_where_the_picture_begins() -> None:
    long = "1/2 causal + 1/4 mlm(rate=0.3) + 1/4 electra"
    found = [Dot(name, name, 0.5, 0.4, 0.6) for name in ("mlm", long)]
    drawn = figure("x", "", found, colours={"mlm": 1, long: 0})
    assert 'class="end">1/2 causal + 1/4 mlm(…<' in drawn and f"{long} 0.500 (0.400 to 0.600)" in drawn
