"""The page of a run: what it says, that it needs nothing else, and that nothing in it runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic import write_jpeg

from galmorph import report
from galmorph.errors import GalmorphError
from galmorph.flags import Flags
from galmorph.pages.charts import draw_bars, draw_histogram, draw_sky
from galmorph.pages.facts import Facts
from galmorph.saved import SavedRun
from galmorph.tables.build import build_table
from galmorph.tables.columns import ColumnSpec, class_columns, result_columns
from galmorph.weights.manifest import load_manifest

VOID = ("meta", "img", "br", "path", "rect", "ellipse")


class Checker(HTMLParser):
    """Tags closed in their order, texts of images and anchors."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.targets, self.images, self.tags = [], set(), set(), [], set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.ids.add(given.get("id"))
        if tag == "a":
            self.targets.add(given["href"].removeprefix("#"))
        if tag == "img":
            self.images.append(given)
        assert not any(name.startswith("on") for name in given)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def check(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.targets <= checker.ids
    assert "script" not in checker.tags and "link" not in checker.tags
    assert all(image["alt"] and image["src"].startswith("data:image/jpeg") for image in
               checker.images)  # fmt: skip
    assert len(page.encode()) < 8e6
    return checker


def make_run(count, paths, **more):
    specs = result_columns(class_columns(["smooth", "spiral"]))
    rng = np.random.default_rng(0)
    share = rng.uniform(0, 1, count)
    columns = {s.name: [""] * count if s.is_text else np.zeros(count, s.dtype) for s in specs}
    columns |= {
        "object_id": [f"g{n}" for n in range(count)],
        "label": np.where(share > 0.5, "spiral", "smooth").tolist(),
        "confidence": np.maximum(share, 1 - share),
        "p_spiral": share,
        "p_smooth": 1 - share,
        "atypicality": rng.uniform(0, 100, count),
        "path": paths,
        "ra": rng.uniform(0, 360, count),
        "dec": rng.uniform(-90, 90, count),
    }
    meta = {"galmorph": "0.1", "model": "tiny", "model_sha256": "ab" * 32, "head": "gz2"}
    return build_table(specs, columns | more, meta)


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        write_jpeg(tmp_path / f"g{number}.jpg", side=120, seed=number)
    return tmp_path


def test_a_page_of_pictures_charts_and_origin(folder):
    page = report(make_run(6, [f"{folder}/g{n}.jpg" for n in range(6)]))
    checker = check(page)
    assert len(checker.images) % 2 == 0 and len(checker.images) >= 12
    assert "g0: what the network was given" in {image["alt"] for image in checker.images}
    assert "6 of 6 cutouts have a result" in page
    assert "We used galmorph (version 0.1) with the model tiny" in page
    assert "@article{wei2022" in page
    assert "6 positions on the sky" in page
    for name in ("Classes", "Most atypical", "Flags", "On the sky"):
        assert f">{name}</h2>" in page


def test_the_surest_of_a_class_have_most_of_its_own_share(folder):
    share = np.linspace(0.1, 0.6, 6)  # the label is not that of the largest share
    more = {"label": ["spiral"] * 6, "p_spiral": share, "p_smooth": 1 - share}
    paths = [f"{folder}/g{n}.jpg" for n in range(6)]
    page = report(make_run(6, paths, confidence=np.maximum(share, 1 - share), **more))
    surest = page.partition("spiral: surest</h3>")[2]
    assert re.findall(r'alt="(g\d): the whole', surest)[0] == "g5"


def test_numbers_for_identifiers_in_csv(folder):
    paths, numbers = [f"{folder}/g{n}.jpg" for n in range(3)], ["0", "1", "2"]
    make_run(3, paths, object_id=numbers).write(folder / "c.csv")
    assert SavedRun(folder / "c.csv").columns(["object_id"])["object_id"] == numbers
    assert check(report(folder / "c.csv")).images


def test_beside_a_label_stands_its_own_share(folder):
    table = make_run(1, [f"{folder}/g0.jpg"], label=["smooth"], p_smooth=[0.46], p_spiral=[0.54],
                     confidence=[0.54])  # fmt: skip
    page = report(table)
    assert "smooth 0.460" in page
    assert "smooth 0.540" not in page


def test_failures_flags_and_what_to_do(folder):
    flags = np.array([0, Flags.ATYPICAL, Flags.READ_FAILED, Flags.ATYPICAL | Flags.PADDED])
    table = make_run(4, [f"{folder}/g{n}.jpg" for n in range(4)], flags=flags,
                     message=["", "", "cut short", ""])  # fmt: skip
    page = report(table)
    check(page)
    assert "3 of 4 cutouts have a result; 1 failed" in page
    assert re.search(r"<td>atypical</td><td class=\"number\">2</td><td>66.7%</td>", page)
    assert "give larger cutouts" in page
    assert "<td>g2</td><td>cut short</td>" in page


def test_moved_images_are_named_and_the_rest_is_shown(folder):
    (folder / "g3.jpg").unlink()
    page = report(make_run(6, [f"{folder}/g{n}.jpg" for n in range(6)]))
    checker = check(page)
    assert f"{folder}/g3.jpg: there is no such file" in page
    assert checker.images


def test_text_of_a_table_stays_text(folder):
    evil = "<script>alert(1)</script>"
    table = make_run(3, [f"{folder}/g0.jpg"] * 3, object_id=[evil, '"><img src=x onerror=1>', "c"],
                     label=[evil, "a&b", "c"], flags=np.array([0, 0, 1]),
                     message=["", "", evil])  # fmt: skip
    table.meta["command"] = evil
    page = report(table)
    check(page)
    assert evil not in page and "&lt;script&gt;" in page


def test_a_large_run_is_a_small_file(folder):
    count = 50_000
    page = report(make_run(count, [f"{folder}/g{n % 6}.jpg" for n in range(count)]))
    check(page)
    assert f"{count:,} of {count:,} cutouts" in page
    assert len(page.encode()) < 2e6


def test_shares_are_found_by_what_columns_mean(folder):
    share = ColumnSpec("bar_yes_fraction", "float32", "", "stat.probability;src.morph.type")
    low = ColumnSpec("bar_yes_fraction_low", "float32", "", "stat.probability;src.morph.type")
    asked = ColumnSpec("bar_proportion_volunteers_asked", "float32", "", "stat.probability")
    specs = result_columns((*class_columns([]), asked, share, low))
    columns = {s.name: [""] * 4 if s.is_text else np.zeros(4, s.dtype) for s in specs}
    columns |= {"object_id": list("abcd"), "bar_yes_fraction": np.array([0.1, 0.2, 0.3, np.nan])}
    columns |= {"label": ["barred", "barred", "round", ""]}
    columns |= {"bar_proportion_volunteers_asked": np.array([1, 0, 0.5, np.nan])}
    table = build_table(specs, columns)
    facts = Facts(SavedRun(table))
    assert facts.share_names == ["bar_yes_fraction"]
    assert facts.shares["bar_yes_fraction"] == pytest.approx((0.1 + 0.15) / 1.5)
    assert facts.classes == {"barred": 2, "round": 1}
    page = report(table)
    check(page)
    assert "bar_yes 16.7%" in page
    assert "keeps no provenance" in page


def test_what_is_no_result_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(GalmorphError, match="no column object_id"):
        report(tmp_path / "a.csv")


def test_extremes_are_those_of_a_sort():
    values = np.array([0.9, 0.2, np.nan, 0.7, 0.5])
    table = make_run(5, [""] * 5, confidence=values, label=list("aabab"))
    facts = Facts(SavedRun(table))
    assert facts.extremes("confidence", 2) == [0, 3]
    assert facts.extremes("confidence", 2, low=True) == [1, 4]
    assert facts.extremes("confidence", 9, facts.labels == "a") == [0, 3, 1]
    assert facts.counts == {"rows": 5, "failed": 0, "unsure": 1}


def test_charts_hold_their_numbers():
    bars = draw_bars({"spiral": 4, "<b>": 2}, "Labels")
    assert 'aria-label="Labels: spiral 4, &lt;b&gt; 2"' in bars
    widths = [float(w) for w in re.findall(r'width="([0-9.]+)" height="14"', bars)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    bins = re.findall(r"to ([0-9.]+): (\d+)</title>", draw_histogram(
        np.array([0.01, 0.02, 0.99, np.nan]), 0, 1, "x"))  # fmt: skip
    assert bins[0] == ("0.05", "2") and bins[-1] == ("1", "1") and len(bins) == 20


def test_the_sky_has_its_poles_and_east_left():
    sky = draw_sky(np.array([180.0, 180.0, 90.0, np.nan]), np.array([0.0, 90.0, 0.0, 0.0]))
    assert "3 positions on the sky" in sky
    points = re.search(r'<path d="((?:M\d+ \d+h0)+)"', sky).group(1)
    places = {tuple(map(int, place)) for place in re.findall(r"M(\d+) (\d+)h0", points)}
    assert {(210, 110), (210, 10)} < places
    assert max(places)[0] > 300  # RA 90 lies to the right of 180


def test_reliability_is_that_of_the_head_in_the_manifest():
    entry = next(e for e in load_manifest().models if e.name == "fused_fast")
    metric = next(m for m in entry.metrics if m.data == "gz2/test" and "'gz2'" in m.protocol)
    table = make_run(3, [""] * 3)
    table.meta |= {"model": "fused_fast", "model_sha256": entry.sha256}
    page = report(table)
    assert f"<td>{metric.name}</td><td>{metric.value:.3f}</td>" in page
    assert "sdss/test" not in page
    table.meta["model_sha256"] = "0" * 64  # other weights of that name
    assert "Reliability" not in report(table)
