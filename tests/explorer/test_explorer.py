"""The explorer without a page: rows, maps, labels, learning, and files."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from concurrent.futures import Future

import numpy as np
import pytest
from made_run import COUNT, make_run

from galmorph import classify, embed, load_model
from galmorph.errors import CatalogueError, GalmorphError, OptionError, TrainingError
from galmorph.explorer import browsing as module
from galmorph.explorer.browsing import FAR, MY_LEAST_SURE, SIMILAR, Browsing, compute_pca
from galmorph.explorer.galaxies import open_galaxies
from galmorph.explorer.labels import Labels, save_head
from galmorph.explorer.pictures import Thumbnails
from galmorph.explorer.portrait import draw_portrait
from galmorph.explorer.selection import make_file, make_regions


def make_browsing(folder, **given):
    galaxies = open_galaxies(make_run(folder, **given))
    columns = galaxies.columns
    return Browsing(galaxies, Labels(folder / "labels.csv", columns["object_id"], columns["path"]))


@pytest.mark.parametrize("suffix", [".csv", ".fits", ".vot", ".ecsv"])
def test_a_run_is_read_from_every_format(tmp_path, suffix):
    galaxies = open_galaxies(make_run(tmp_path, suffix=suffix))
    assert len(galaxies) == COUNT
    assert galaxies.embeddings.shape == (COUNT, 512)
    assert galaxies.encoded.all()
    assert list(galaxies.shares) == ["smooth", "spiral"]


def test_a_table_of_another_kind_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "other.csv").write_text("name,mass\na,1\n")
    with pytest.raises(CatalogueError, match="no result of galmorph"):
        open_galaxies(tmp_path / "other.csv")
    (tmp_path / "near.csv").write_text("object_id,mass\na,1\n")
    with pytest.raises(CatalogueError, match=r"\(no path\).*--with-embedding"):
        open_galaxies(tmp_path / "near.csv")


def test_principal_components_are_those_of_a_plain_decomposition():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]).astype(np.float32)
    found = compute_pca(rows, np.ones(50, dtype=bool))
    u, s, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :2] * s[:2]), rtol=1e-3, atol=1e-3)


def test_a_map_is_kept_beside_the_run_until_that_changes(tmp_path):
    first = make_browsing(tmp_path)
    axes = first.compute_map("PCA")
    (kept,) = tmp_path.glob("run.fits.*.pca.npy")
    np.save(kept, axes + 1)
    again = Browsing(open_galaxies(tmp_path / "run.fits"), first.labels)
    np.testing.assert_array_equal(again.compute_map("PCA"), axes + 1)


def test_similarity_is_that_to_the_nearest_of_several(tmp_path, monkeypatch):
    browsing = make_browsing(tmp_path)
    vectors = np.array(browsing.galaxies.embeddings)
    vectors[4] = np.nan
    browsing.galaxies.alike = Future()
    browsing.galaxies.alike.set_result(vectors)
    rows = vectors.astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    monkeypatch.setattr(module, "QUERIES", 2)
    found = browsing.compute_similarity([2, 4, 7])
    np.testing.assert_allclose(found, (unit @ unit[[2, 7]].T).max(axis=1), rtol=1e-4, atol=1e-5)
    assert np.flatnonzero(np.isnan(found)).tolist() == [4]


def test_labels_are_on_disk_at_once_and_come_back(tmp_path):
    browsing = make_browsing(tmp_path)
    browsing.labels.put(3, "arms")
    browsing.labels.put(5, "none")
    browsing.labels.put(3, "none, at all")
    with (tmp_path / "labels.csv").open(newline="") as file:
        stored = {row["object_id"]: row["label"] for row in csv.DictReader(file)}
    assert stored == {"g005": "none", "g003": "none, at all"}
    assert browsing.labels.undo() == 3
    assert make_browsing(tmp_path).labels.rows == {5: "none", 3: "arms"}


def test_labels_of_other_galaxies_and_other_writers_stay(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("object_id,label\nelsewhere,arms\ng001,none\n")
    first, second = (Labels(path, ["g000", "g001"], ["a.png", "b.png"]) for _ in range(2))
    first.put(0, "arms")
    second.put(1, "arms")
    again = Labels(path, ["g000", "g001", "elsewhere"], ["a.png", "b.png", "c.png"])
    assert again.rows == {0: "arms", 1: "arms", 2: "arms"}


def test_a_file_that_holds_no_labels_is_not_replaced(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CatalogueError, match="--labels"):
        Labels(path, ["g000"], [""])
    assert path.read_text() == "a,b\n1,2\n"


def test_a_killed_process_loses_no_label_that_it_has_shown(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from galmorph.explorer.labels import Labels\n"
        "labels = Labels(sys.argv[1], list(map(str, range(50))), [''] * 50)\n"
        "for row in range(50):\n"
        "    labels.put(row, 'arms')\n"
        "    if row == 20: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "labels.csv"
    subprocess.run([sys.executable, "-c", code, path], check=False, env=dict(os.environ))
    assert len(Labels(path, list(map(str, range(50))), [""] * 50).rows) == 21


def test_orders(tmp_path):
    browsing = make_browsing(tmp_path)
    browsing.refresh()
    assert browsing.order[0] == np.argmin(browsing.galaxies.columns["confidence"])
    browsing.chosen, browsing.sorted_by = COUNT - 1, SIMILAR
    browsing.refresh()
    assert browsing.order[0] == COUNT - 1
    assert (browsing.order[: COUNT // 2] >= COUNT // 2).all()  # its own kind first
    browsing.picked = np.array([1, 2, 70])
    browsing.refresh()
    assert set(browsing.order) == {1, 2, 70}
    browsing.step(1)
    assert browsing.chosen == browsing.order[0]


def test_a_filter_lets_rows_pass(tmp_path):
    browsing = make_browsing(tmp_path)
    browsing.labels.put(70, "arms")
    browsing.filter("label == 'spiral' and atypicality < 90")
    assert set(browsing.passing) == set(range(40, 72))
    browsing.filter("your_label == 'arms'")
    assert list(browsing.passing) == [70]
    with pytest.raises(GalmorphError, match="no column 'lable'; label is one"):
        browsing.filter("lable == 'spiral'")
    browsing.filter(" ")
    assert len(browsing.passing) == COUNT


def test_learning_finds_the_two_kinds_and_proposes_what_to_label(tmp_path):
    browsing = make_browsing(tmp_path)
    with pytest.raises(TrainingError, match="two classes with two labels each"):
        browsing.learn()
    for row in (0, 1, 2, 60, 61, 62):
        browsing.labels.put(row, "no arms" if row < 40 else "arms")
    browsing.labels.put(5, "odd")
    learnt = browsing.learn()
    assert "left out, labelled once: odd" in learnt.describe()
    share = browsing.galaxies.columns["mine_arms"]
    assert (share[40:] > 0.5).all()
    assert (share[:40] < 0.5).all()
    for name in (FAR, MY_LEAST_SURE, "yours: arms"):
        browsing.sorted_by = name
        browsing.refresh()
        assert not set(browsing.order) & set(browsing.labels.rows)
    assert browsing.order[0] == np.argmax(np.where(np.isin(np.arange(80), (60, 61, 62)), 0, share))


def test_the_penalty_of_what_is_learnt_is_that_of_so_many_labels(tmp_path):
    from galmorph.explorer.labels import PENALTY, learn

    galaxies = make_browsing(tmp_path).galaxies
    for count in (4, 20):
        labels = {row: "arms" if row % 2 else "none" for row in range(count)}
        assert learn(galaxies, labels).head.notes["penalty"] == PENALTY / count


def test_a_saved_head_classifies(tmp_path):
    browsing = make_browsing(tmp_path)
    paths = browsing.galaxies.columns["path"]
    embeddings = embed(list(paths), model="fused_fast", crop=0.5)
    browsing.galaxies.embeddings = embeddings.astype(np.float16)
    for row in range(0, COUNT, 4):
        browsing.labels.put(row, "red" if row < COUNT // 2 else "blue")
    save_head(tmp_path / "mine.safetensors", browsing.learn(), browsing.galaxies.meta)
    table = classify(list(paths[[1, -1]]), model="fused_fast", head=tmp_path / "mine.safetensors")
    assert list(table["label"]) == ["red", "blue"]
    np.testing.assert_allclose(
        table["p_red"][0], browsing.galaxies.columns["mine_red"][1], atol=0.02
    )


def test_a_run_without_embeddings_can_be_looked_at(tmp_path):
    browsing = make_browsing(tmp_path, embedding=False)
    assert browsing.list_maps() == ["two columns"]
    assert len(browsing.find_neighbours(12)) == 0
    with pytest.raises(TrainingError, match="--with-embedding"):
        browsing.learn()


def test_selections_leave_in_every_format(tmp_path):
    from astropy.io import fits
    from astropy.io.votable import parse_single_table

    galaxies = make_browsing(tmp_path).galaxies
    rows = np.array([7, 3])
    assert make_file(galaxies, rows, ".csv").decode().splitlines()[1].startswith("g007,")
    for suffix in (".fits", ".vot"):
        (tmp_path / f"s{suffix}").write_bytes(make_file(galaxies, rows, suffix))
    assert list(fits.getdata(tmp_path / "s.fits")["object_id"]) == ["g007", "g003"]
    assert list(parse_single_table(tmp_path / "s.vot").array["object_id"]) == ["g007", "g003"]
    lines = make_regions(galaxies, rows).splitlines()
    assert lines[1] == "icrs"
    assert lines[2] == 'circle(150.0700000,2.0700000,10.000") # text={g007 smooth}'
    galaxies.columns["ra"][:] = np.nan
    with pytest.raises(GalmorphError, match="no regions"):
        make_regions(galaxies, rows)


def test_a_csv_without_a_message_has_no_message(tmp_path):
    galaxies = open_galaxies(make_run(tmp_path, suffix=".csv"))
    assert set(galaxies.columns["message"]) == {""}


def test_images_that_have_moved_are_named_and_found_again(tmp_path):
    galaxies = make_browsing(tmp_path).galaxies
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "g001.png").write_bytes(b"no image")
    lost = Thumbnails(galaxies).show_many([0, 1])
    assert all(not address and "g00" in reason for address, reason in lost)
    assert Thumbnails(galaxies).is_gone(0)
    found = Thumbnails(galaxies, tmp_path / "elsewhere").show_many([0, 1])
    assert found[0][0].startswith("data:image/jpeg;base64,")
    assert not found[1][0]  # broken, and there
    assert not Thumbnails(galaxies, tmp_path / "elsewhere").is_gone(1)


def test_texts_of_a_run_are_no_markup(tmp_path):
    galaxies = make_browsing(tmp_path).galaxies
    galaxies.columns["object_id"][0] = galaxies.columns["path"][0] = "<script>"
    html = draw_portrait(galaxies, 0, (("", "<b>gone"), {}), "<i>mine")
    assert "<script>" not in html
    assert "<i>mine" not in html
    assert "<b>gone" not in html
    assert "atypical" in html


def test_a_galaxy_is_shown_with_its_panels_and_with_what_a_share_rests_on(tmp_path):
    galaxies = make_browsing(tmp_path).galaxies
    pictures = Thumbnails(galaxies)
    (whole, reason), panels = pictures.show(3)
    assert whole.startswith("data:image/jpeg") and not reason
    assert list(panels) == ["image", "stretched", "cropped", "what the network sees (84 px)"]
    with pytest.raises(OptionError, match="does not say by which model"):
        pictures.show(3, "p_spiral")
    model = load_model("fused_fast")
    galaxies.meta |= {"model_sha256": model.provenance["sha256"], "head": "gz2"}
    *_, last = pictures.show(3, "p_spiral")[1]
    assert last == "what spiral rests on"
    galaxies.meta["model_sha256"] = "0" * 64
    with pytest.raises(OptionError, match="was made by other weights of 'fused_fast'"):
        pictures.show(3, "p_spiral")
    (tmp_path / "images" / "g003.png").unlink()
    (whole, reason), panels = pictures.show(3, "p_spiral")
    assert not whole and "g003.png" in reason and not panels


def test_the_tree_is_told_in_words(tmp_path):
    head = load_model("fused_fast").heads["tree"]
    rng = np.random.default_rng(2)
    galaxies = make_browsing(tmp_path).galaxies
    galaxies.meta |= head.describe()
    galaxies.columns |= head.fill(rng.normal(size=(COUNT, 512)).astype(np.float32))
    html = draw_portrait(galaxies, 4, (("", ""), {}), "")
    assert galaxies.questions == list(head.questions)
    for question in head.questions:
        asked = galaxies.columns[f"{question.name}_relevant"][4]
        assert (f"{question.name.replace('-', ' ')}? <b>" in html) == asked
    shares = [galaxies.columns[f"{answer}_fraction"][4] for answer in head.questions[0].columns]
    first = head.questions[0].answers[int(np.argmax(shares))].replace("-", " ")
    assert f"smooth or featured? <b>{first}</b> {max(shares):.0%}" in html
