"""The explorer in a real browser: sort, filter, select, click, label, learn, reload, export."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_run import make_run

pytest.importorskip("panel", reason="the explorer needs the extra explore (panel)")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("GALMORPH_CHROMIUM") or shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 90_000
"""Milliseconds, on a machine with much else to do."""

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(tmp_path):
    """An explorer in a process of its own, in whose folder labels are kept."""
    run = make_run(tmp_path)
    command = [sys.executable, "-m", "galmorph", "explore", run.name, "--port", "0", "--no-browser"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    yield process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)


@pytest.fixture
def address(server):
    said = server.stderr.readline()
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/[\w-]{32}\n", said), said
    return said.strip()


@pytest.fixture
def page(address, request):
    more = getattr(request, "param", ())
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *more])
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.elsewhere, page.errors = [], []
        page.on("request", lambda request: page.elsewhere.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        yield page
        local = (address.rpartition("/")[0], "data:", "blob:")
        assert [url for url in page.elsewhere if not url.startswith(local)] == []
        assert page.errors == []
        browser.close()


def read_labels(folder: Path) -> dict[str, str]:
    path = folder / "labels.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {row["object_id"]: row["label"] for row in csv.DictReader(file)}


def expect(locator):
    return sync_api.expect(locator)


def test_a_session_from_the_map_to_the_head(page, tmp_path):
    timeout = {"timeout": PATIENCE}
    cells, title = page.locator(".cell img"), page.locator(".portrait h3")
    expect(cells).to_have_count(30 + 12, **timeout)  # a page, and the neighbours
    expect(title).to_have_text("g000", **timeout)  # the least sure

    page.get_by_label("sort by").select_option("most atypical")
    first = page.locator(".cell").first
    expect(first).to_have_attribute("title", "g079", **timeout)

    where = page.get_by_label("where")
    where.fill("p_spiral < 0.5")
    where.press("Enter")
    expect(first).to_have_attribute("title", "g039", **timeout)
    expect(page.get_by_text("1–30 of 40")).to_be_visible(**timeout)
    where.fill("nonsense <")
    where.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("where 'nonsense <'", **timeout)
    where.fill("")
    where.press("Enter")
    expect(first).to_have_attribute("title", "g079", **timeout)
    first.click()
    expect(title).to_have_text("g079", **timeout)
    expect(page.locator(".panels img")).to_have_count(4, **timeout)
    label_some(page, tmp_path, title, timeout)

    page.get_by_role("button", name="Learn").click()
    expect(page.get_by_text("in cross-validation")).to_be_visible(**timeout)
    page.get_by_label("sort by").select_option("yours: arms")
    expect(page.get_by_text("1–30 of 72")).to_be_visible(**timeout)  # without the labelled ones
    page.get_by_role("button", name="Save head").click()
    expect(page.get_by_text("--head my_head.safetensors")).to_be_visible(**timeout)
    assert (tmp_path / "my_head.safetensors").exists()

    select_by_lasso(page, timeout)
    with page.expect_download() as download:
        page.get_by_text("Save these", exact=False).click()
    rows = list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))
    assert 0 < len(rows) < 72
    assert {"object_id", "label", "p_spiral", "your_label", "mine_arms"} <= set(rows[0])

    page.reload()
    expect(page.get_by_role("button", name="1 arms (4)")).to_be_visible(**timeout)
    expect(page.get_by_role("button", name="Save head")).to_be_enabled(**timeout)
    assert len(read_labels(tmp_path)) == 8


def label_some(page, folder, title, timeout):
    """Name two keys, label eight galaxies by them, and take one label back."""
    names = page.get_by_label("labels, by the keys")
    names.fill("arms, none")
    names.press("Enter")
    expect(page.get_by_role("button", name="1 arms (0)")).to_be_visible(**timeout)
    title.click()  # away from the text, which keys belong to
    label_four(page, folder, ("spiral", "g079"), ("1", "arms"))
    page.keyboard.press("u")
    expect(title).to_have_text("g076", **timeout)
    assert "g076" not in read_labels(folder)
    page.keyboard.press("1")
    expect(title).to_have_text("g075", **timeout)
    label_four(page, folder, ("smooth", "g039"), ("2", "none"))


def label_four(page, folder, start, key):
    """Label the first galaxies by a share; each is on disk as soon as the next is seen."""
    title, timeout = page.locator(".portrait h3"), {"timeout": PATIENCE}
    page.get_by_label("sort by").select_option(start[0])
    expect(page.locator(".cell").first).to_have_attribute("title", start[1], **timeout)
    page.locator(".cell").first.click()
    for number in range(int(start[1][1:]), int(start[1][1:]) - 4, -1):
        expect(title).to_have_text(f"g{number:03}", **timeout)
        page.keyboard.press(key[0])
        expect(title).to_have_text(f"g{number - 1:03}", **timeout)
        assert read_labels(folder)[f"g{number:03}"] == key[1]


def select_by_lasso(page, timeout):
    """Draw a line around the left half of the map."""
    box = page.locator(".bk-Canvas, .bk-canvas").first.bounding_box()
    corners = [(0.08, 0.05), (0.45, 0.05), (0.45, 0.85), (0.08, 0.85), (0.08, 0.06)]
    places = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole map")).to_be_visible(**timeout)


@pytest.mark.parametrize("page", [["--disable-3d-apis"]], indirect=True)
def test_a_killed_server_has_all_labels_that_were_shown_also_without_webgl(page, server, tmp_path):
    title, timeout = page.locator(".portrait h3"), {"timeout": PATIENCE}
    assert page.evaluate("document.createElement('canvas').getContext('webgl')") is None
    select_by_lasso(page, timeout)  # on a map without WebGL
    page.get_by_role("button", name="Whole map").click()
    expect(title).to_have_text("g000", **timeout)
    for number in range(3):
        page.keyboard.press("1")
        expect(page.get_by_role("button", name=f"1 yes ({number + 1})")).to_be_visible(**timeout)
    page.keyboard.press("2")
    expect(page.get_by_role("button", name="2 no (1)")).to_be_visible(**timeout)
    server.kill()
    assert sorted(read_labels(tmp_path).values()) == ["no", "yes", "yes", "yes"]


def test_nothing_is_told_without_the_token(page, address):
    for path in ("/", "/index", "/" + "x" * 32, "/liveness"):
        found = page.request.get(address.rpartition("/")[0] + path)
        assert found.status in (403, 404)
        assert address.rpartition("/")[2] not in found.text()
