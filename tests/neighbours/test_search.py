"""Search in a result whose embeddings are known."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import galmorph
from galmorph.errors import CatalogueError, GalmorphWarning, MissingExtraError, OptionError
from galmorph.neighbours import search as search_module
from galmorph.neighbours import vectors as vectors_module
from galmorph.neighbours.duplicates import find_duplicates
from galmorph.neighbours.vectors import compute_similarity, map_embeddings, to_unit
from galmorph.saved import SavedRun
from galmorph.tables.build import build_table
from galmorph.tables.columns import ColumnSpec, class_columns, result_columns

N, D = 300, 16


@pytest.fixture(scope="module")
def vectors():
    found = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
    found[7] = np.nan
    return found


@pytest.fixture
def table(vectors):
    carried = (ColumnSpec("z", "float64"),)
    specs = result_columns(class_columns(["smooth", "spiral"]), embedding_dim=D, carried=carried)
    columns = {s.name: [""] * N if s.is_text else np.zeros(N, s.dtype) for s in specs}
    columns |= {"object_id": [f"g{n}" for n in range(N)], "embedding": vectors}
    columns |= {"path": [f"im/g{n}.jpg" for n in range(N)], "z": np.arange(N) / N}
    columns |= {"ra": np.arange(N) * 0.1, "dec": np.full(N, 60.0)}
    return build_table(specs, columns, {"model": "tiny", "model_sha256": "0" * 64})


def rank_naively(vectors, query):
    cosine = [np.dot(v, query) / np.linalg.norm(v) / np.linalg.norm(query) for v in vectors]
    return np.array(cosine)


@pytest.mark.parametrize("suffix", ["parquet", "fits", "ecsv", "csv", "npz", ""])
def test_the_nearest_in_every_format(tmp_path, table, vectors, suffix):
    run = table
    if suffix:
        run = tmp_path / f"run.{suffix}"
        galmorph.write_table(table, run)
    says_nothing = pytest.warns(GalmorphWarning, match="does not say by which model")
    with says_nothing if suffix == "csv" else nullcontext():
        found = galmorph.search(run, "g3", n=5)
    cosine = rank_naively(vectors, vectors[3])
    cosine[[3, 7]] = -np.inf
    best = np.argsort(-cosine)[:5]
    assert list(found["object_id"]) == [f"g{n}" for n in best]
    np.testing.assert_allclose(found["similarity"], cosine[best], atol=2e-3)
    assert list(found["rank"]) == [1, 2, 3, 4, 5]
    assert found.colnames[:3] == ["rank", "similarity", "object_id"]
    assert "embedding" not in found.colnames and "e_000" not in found.colnames
    assert found.meta["search"]["like"] == ["g3"]


def test_likes_minus_unlikes_and_a_condition(table, vectors):
    found = galmorph.search(table, ["g1", "im/g2.jpg"], unlike="g4", n=N, where="z < 0.5")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    query = (unit[1] + unit[2]) / 2 - unit[4]
    cosine = rank_naively(vectors, query)
    rows = [n for n in range(150) if n not in (1, 2, 4, 7)]
    expected = sorted(rows, key=lambda n: -cosine[n])
    assert set(found["object_id"]) == {f"g{n}" for n in rows}
    np.testing.assert_allclose(found["similarity"], cosine[expected], atol=2e-3)


def test_an_example_by_position(table):
    assert "g20" not in galmorph.search(table, "2.0001,60.0", n=N)["object_id"]
    assert "g20" not in galmorph.search(table, (2.0, 60.0), n=N)["object_id"]
    with pytest.raises(OptionError, match=r"within 5 arcsec of 2\.05, 60; the nearest is 90"):
        galmorph.search(table, (2.05, 60.0))


@pytest.mark.parametrize(
    ("like", "more", "reason"),
    [
        ("g3000", {}, "is no object_id of the table, no RA,DEC and no file; 'g300|'g"),
        ("g7", {}, "g7: has no embedding in the table"),
        ([], {}, "at least one example"),
        ("g1", {"n": 0}, "n must be at least 1"),
        ("g1", {"where": "redshift < 1"}, "there is no column 'redshift'"),
    ],
)
def test_bad_requests_are_sentences(table, like, more, reason):
    with pytest.raises(OptionError, match=reason):
        galmorph.search(table, like, **more)


def test_a_run_without_embeddings_says_how_to_get_them(table):
    table.remove_column("embedding")
    with pytest.raises(CatalogueError, match="--with-embedding"):
        galmorph.search(table, "g1")


def test_the_vectors_are_kept_until_the_run_changes(tmp_path, table, vectors):
    path = tmp_path / "run.parquet"
    galmorph.write_table(table, path)
    first = map_embeddings(SavedRun(path))
    assert isinstance(first, np.memmap) and first.dtype == np.float16
    np.testing.assert_allclose(first, vectors, rtol=1e-3, atol=1e-6)
    (kept,) = tmp_path.glob("*.embeddings.npy")
    written = kept.stat().st_mtime_ns
    map_embeddings(SavedRun(path))
    assert kept.stat().st_mtime_ns == written
    galmorph.write_table(table[:100], path)
    assert len(map_embeddings(SavedRun(path))) == 100
    assert len(list(tmp_path.glob("*.embeddings.npy"))) == 1
    assert not list(tmp_path.glob(".*.tmp"))


def test_similarity_is_that_of_float32(vectors):
    kept, queries = vectors.astype(np.float16), to_unit(vectors[:3])
    found = compute_similarity(kept, queries)
    exact = kept.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(found, exact @ queries.T, atol=1e-6)
    assert np.isnan(found[7]).all() and np.isnan(found).sum() == 3


def test_what_is_compared_is_weighted_where_there_is_a_matrix_for_the_model(
    tmp_path, table, vectors, monkeypatch
):
    weighting = np.random.default_rng(1).normal(size=(D, 4)).astype(np.float16)
    monkeypatch.setattr(vectors_module, "WEIGHTINGS", tmp_path / "weightings.safetensors")
    save_file({"0" * 64: weighting, "2" * 64: weighting[1:].copy()}, vectors_module.WEIGHTINGS)
    galmorph.write_table(table, path := tmp_path / "run.parquet")
    cosine = rank_naively(vectors @ weighting, vectors[3] @ weighting)
    cosine[[3, 7]] = -np.inf
    best = [f"g{n}" for n in np.argsort(-cosine)[:20]]
    assert len({*best} & {*galmorph.search(table, "g3", n=20)["object_id"]}) >= 19  # float16
    found = galmorph.search(path, "g3", n=20)
    np.testing.assert_allclose(found["similarity"], np.sort(cosine)[::-1][:20], atol=2e-3)
    (kept,) = tmp_path.glob("run.parquet.*.compared.npy")
    galmorph.write_table(table[:100], path)
    galmorph.search(path, "g3")
    assert [*tmp_path.glob("run.parquet.*.compared.npy")] != [kept]
    assert found.meta["search"]["compared"] == "weighted embeddings"
    nearest = np.sort(rank_naively(vectors, vectors[3]))[-3]  # before itself and the missing one
    for unknown in ("1", "2"):  # another model, and a matrix for longer embeddings
        table.meta["model_sha256"] = unknown * 64
        plain = galmorph.search(table, "g3", n=1)
        assert plain.meta["search"]["compared"] == "plain embeddings"
        assert plain["similarity"][0] == pytest.approx(nearest, abs=2e-3)


def test_there_is_a_matrix_for_the_default_model():
    sha256 = galmorph.load_model().provenance["sha256"]
    assert load_file(vectors_module.WEIGHTINGS)[sha256].shape == (512, 128)


def test_an_index_is_built_once_and_finds_the_same(tmp_path, table, vectors, monkeypatch):
    pytest.importorskip("faiss", reason="the extra search is not installed")
    path = tmp_path / "run.parquet"
    galmorph.write_table(table, path)
    exact = galmorph.search(path, "g3", unlike="g4", n=5)
    few = galmorph.search(path, "g3", unlike="g4", n=5, index=True)
    assert list(few["object_id"]) == list(exact["object_id"])
    assert not [*tmp_path.glob("*.faiss")]
    monkeypatch.setattr(search_module, "ROWS_INDEXED", 100)
    found = galmorph.search(path, "g3", unlike="g4", n=5, index=True)
    assert list(found["object_id"]) == list(exact["object_id"])
    np.testing.assert_array_equal(found["similarity"], exact["similarity"])
    (kept,) = tmp_path.glob("*.faiss")
    written = kept.stat().st_mtime_ns
    monkeypatch.setattr(search_module, "_build", None)
    galmorph.search(path, "g3", n=5, index=True)
    assert kept.stat().st_mtime_ns == written
    monkeypatch.undo()
    monkeypatch.setattr(search_module, "ROWS_INDEXED", 100)
    galmorph.write_table(table[:100], path)
    assert set(galmorph.search(path, "g3", index=True)["object_id"]) <= set(
        table["object_id"][:100]
    )
    assert len(list(tmp_path.glob("*.faiss"))) == 1


def test_an_identifier_of_two_rows_is_refused_and_a_number_is_one(table):
    table["object_id"][5] = "12"
    assert list(galmorph.search(table, 12, n=3)["object_id"]) == list(
        galmorph.search(table, "12", n=3)["object_id"]
    )
    table["object_id"][6] = "12"
    with pytest.raises(OptionError, match="object_id of 2 rows.*by its path"):
        galmorph.search(table, "12")


def test_without_faiss_an_index_is_refused_and_many_rows_are_searched(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"\[search\]"):
        galmorph.search(table, "g3", index=True)
    monkeypatch.setattr(search_module, "MANY_ROWS", 10)
    assert len(galmorph.search(table, "g3", n=5)) == 5


def test_duplicates_by_position_and_by_looks(table):
    table["ra"][10], table["dec"][10] = table["ra"][11] + 1e-4, 60.0  # 0.18 arcsec, other looks
    table["embedding"][21] = table["embedding"][20]  # the same looks elsewhere
    table["embedding"][31] = table["embedding"][30] * 2
    table["ra"][31] = np.nan  # the same looks and no position
    found = find_duplicates(table)
    pairs = set(zip(found["object_id_1"], found["object_id_2"], strict=True))
    assert pairs == {("g10", "g11"), ("g30", "g31")}
    assert found["object_id_1"][0] == "g30"
    assert found["similarity"][0] == pytest.approx(1, abs=2e-3)
    assert found["separation"][1] == pytest.approx(0.18, abs=0.01)


def test_no_duplicates_is_an_empty_table(table):
    assert len(find_duplicates(table)) == 0
