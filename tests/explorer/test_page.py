"""The page without a browser: its map, and what it shows before the embeddings are there."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_run import COUNT, make_run

from galmorph import explore
from galmorph.errors import CatalogueError, GalmorphError
from galmorph.explorer import galaxies
from galmorph.neighbours.vectors import map_embeddings

pytest.importorskip("panel", reason="the explorer needs the extra explore (panel)")
# newer names of Panel's settings, which older versions do not know
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

ROOT = Path(__file__).resolve().parents[2]


def make_view(folder, **how):
    return explore(make_run(folder), labels=folder / "labels.csv").make_view(**how)


@pytest.fixture
def laying(tmp_path, monkeypatch):
    """A page on embeddings that are on their way, and what lets them, or an error, arrive."""
    arrived, errors = threading.Event(), []

    def wait(*given):
        assert arrived.wait(60)
        for error in errors:
            raise error
        return map_embeddings(*given)

    monkeypatch.setattr(galaxies, "PATIENCE", 0.01)
    monkeypatch.setattr(galaxies, "map_embeddings", wait)
    view = make_view(tmp_path, alone=True)

    def arrive(*given):
        errors.extend(given)
        arrived.set()

    yield view, arrive
    arrived.set()


def wait_for(happened):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_page_stands_before_the_embeddings_are_laid(laying):
    view, arrive = laying
    assert "their map and what looks alike follow" in view.status.words
    assert len(view.gallery.items) == 30 and "g000" in view.portrait.words
    assert not view.near.items and not len(view.map.points.data["x"])
    arrive()
    wait_for(lambda: len(view.near.items) == 12 and view.map.marked.data["x"].size)
    assert len(view.map.points.data["x"]) == COUNT
    assert "follow" not in view.status.words


def test_what_is_wrong_with_embeddings_is_said_on_the_page(laying):
    view, arrive = laying
    arrive(CatalogueError("run.fits: 3 of its rows cannot be read"))
    wait_for(lambda: "3 of its rows cannot be read" in view.status.words)
    assert len(view.gallery.items) == 30


def test_labels_need_names_that_differ(tmp_path):
    view = make_view(tmp_path)
    for wrong in ("arms, arms", "E+, E-", " , "):
        view.keys.value = wrong
        assert "different letters or digits" in view.status.words
        assert view.names == ["yes", "no"]
    view.keys.value = "arms, none"
    assert view.names == ["arms", "none"] and "letters" not in view.status.words


def test_regions_say_how_many_have_no_position(tmp_path):
    view = make_view(tmp_path)
    view.browsing.galaxies.columns["ra"][:3] = np.nan
    view.format.value = "DS9 regions"
    assert view._export().getvalue().count(b"circle(") == COUNT - 3
    assert f"3 of {COUNT} have no position" in view.status.words


def make_map(x, y, values):
    from galmorph.explorer.sky_map import Map

    told = []
    drawn = Map(told.append, told.append)
    drawn.show(x, y, values, rows=np.arange(len(x)), names=("x", "y", "colour"))
    return drawn, told


def test_a_map_of_many_is_binned_and_still_selects(monkeypatch):
    from galmorph.explorer import sky_map

    monkeypatch.setattr(sky_map, "MOST_POINTS", 99)
    rng = np.random.default_rng(3)
    x, y, values = rng.normal(size=(3, 500))
    x[0] = np.nan
    drawn, told = make_map(x, y, values)
    image = drawn.image.data["image"][0]
    assert len(drawn.points.data["x"]) == 0
    assert np.isfinite(image).sum() == len(
        {(a, b) for a, b in zip(bin_of(x[1:]), bin_of(y[1:]), strict=True)}
    )
    event = SimpleNamespace(
        final=True, geometry={"type": "rect", "x0": 1, "x1": 0, "y0": -1, "y1": 1}
    )
    drawn._selected(event)
    assert set(told[0]) == set(np.flatnonzero((x >= 0) & (x <= 1) & (abs(y) <= 1)))
    counted, _ = make_map(x, y, np.array(["a", "b"] * 250, dtype=object))
    counts = 10.0 ** counted.image.data["image"][0]
    assert round(float(np.nansum(counts))) == 499


def bin_of(values):
    """Number of the bin of each value, as numpy's histograms have them."""
    from galmorph.explorer.sky_map import BINS

    edges = np.linspace(values.min(), values.max(), BINS + 1)
    return np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)


def test_points_in_a_lasso_are_those_of_a_plain_rule():
    from galmorph.explorer.sky_map import find_inside

    x, y = np.random.default_rng(4).uniform(-1, 3, size=(2, 300))
    lasso = {"type": "poly", "x": [0, 2, 2, 1, 0], "y": [0, 0, 2, 0.5, 2]}  # a notch from above
    notch = np.where(x < 1, 2 - 1.5 * x, 0.5 + 1.5 * (x - 1))
    expected = (x > 0) & (x < 2) & (y > 0) & (y < notch)
    np.testing.assert_array_equal(find_inside(lasso, x, y), expected)


def test_colours_of_classes_and_of_numbers():
    x = np.arange(6.0)
    labels = np.array(["b", "a", "", "b", "a", "c"], dtype=object)
    drawn, _ = make_map(x, x, labels)
    np.testing.assert_array_equal(drawn.points.data["c"], [1, 0, np.nan, 1, 0, 2])
    assert drawn.bar.major_label_overrides == {0: "a", 1: "b", 2: "c"}
    drawn, told = make_map(x, x, x)
    np.testing.assert_array_equal(drawn.points.data["c"], x)
    drawn._tapped(SimpleNamespace(x=3.2, y=2.9))
    assert told == [3]


def test_other_programs_hear_what_is_chosen_and_show_what_they_select(tmp_path, monkeypatch):
    from galmorph.explorer import view as view_module

    told = []

    class Sent:
        def __init__(self, hear):
            self.hear = hear

        def __getattr__(self, name):
            return lambda *given: told.append((name, *map(list, given[1:]))) or 1

    monkeypatch.setattr(view_module, "Sent", Sent)
    view = make_view(tmp_path)
    view._choose(5)
    assert told == []  # nothing before it is asked for
    view._send()
    assert [name for name, *_ in told] == ["send"]
    assert f"Sent {COUNT} rows; programs that listen: 1;" in view.status.words
    view._choose(6)
    view._pick(np.array([1, 2]))
    assert [name for name, *_ in told] == ["send", "highlight", "select"]
    view.sent.hear([8])
    assert view.browsing.chosen == 8
    view.sent.hear([3, 4])
    assert set(view.browsing.order) == {3, 4}
    assert len(told) == 3  # what was heard is not told again


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tornado's socket
def test_a_port_in_use_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GalmorphError, match=f"--port {port}: Address already in use; 0 takes"):
            explore(make_run(tmp_path), labels=tmp_path / "labels.csv").make_server(port)


def test_what_changes_on_the_page_asks_for_no_styles_again(tmp_path):
    """A notebook has them inline; anew they would come from elsewhere."""
    from bokeh.models import ImportedStyleSheet, UIElement

    view = make_view(tmp_path)
    root = view.layout.get_root()
    for model in root.select({"type": UIElement}):
        model.stylesheets = []
    view._choose(5)
    view._label(5, 0)
    view._say("words")
    assert "words" in view.status.words
    assert [*root.select({"type": ImportedStyleSheet})] == []


def test_a_notebook_shows_the_same_page(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    from nbformat.v4 import new_code_cell, new_notebook

    make_run(tmp_path)
    code = "import galmorph\ngalmorph.explore('run.fits')"
    notebook = new_notebook(cells=[new_code_cell(code)])
    kernel = {"env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    client = nbclient.NotebookClient(notebook, timeout=400, kernel_name="python3")
    client.execute(cwd=str(tmp_path), **kernel)
    shown = [o.data for o in notebook.cells[0].outputs if o.output_type == "execute_result"]
    assert len(shown) == 1
    loaded = str(notebook.cells[0].outputs)
    assert "cdn.bokeh.org" not in loaded and "cdn.holoviz.org" not in loaded
    assert "g000" in shown[0]["text/html"] and "data:image/jpeg;base64," in shown[0]["text/html"]
