"""Blocks to columns: labels, probabilities, flags, provenance."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_model import CLASSES
from synthetic import write_jpeg

import galmorph
from galmorph.flags import Flags
from galmorph.images.files import ImageFile
from galmorph.inference.engine import Block, Row
from galmorph.inference.results import ResultPlan, concatenate
from galmorph.model import Model
from galmorph.pipeline import Pipeline
from galmorph.settings import EngineOptions, FieldOptions
from galmorph.tables.columns import ColumnSpec
from galmorph.typicality import fit_typicality


def make_block(count: int = 4, *, bad: tuple[int, ...] = (2,)) -> Block:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(count, 512)).astype(np.float32)
    rows = []
    for i in range(count):
        source = ImageFile(f"g{i}", f"/data/g{i}.jpg", columns={"z": 0.1 * i})
        rows.append(Row(source, f"g{i}", f"/data/g{i}.jpg", notes={"stretch": "sdss", "hdu": "1"}))
        if i in bad:
            rows[i].flags, rows[i].message = Flags.READ_FAILED, "broken"
            embeddings[i] = np.nan
    return Block(rows, embeddings)


def test_columns_are_those_of_the_plan(model: Model) -> None:
    plan = ResultPlan(model, model.heads["test"], with_embedding=True)
    columns = plan.fill(make_block())
    assert set(columns) == {spec.name for spec in plan.specs}
    assert all(len(values) == 4 for values in columns.values())
    assert columns["embedding"].shape == (4, 512)


def test_probabilities_by_the_formula(model: Model) -> None:
    head, block = model.heads["test"], make_block(bad=())
    columns = ResultPlan(model, head).fill(block)
    for i, embedding in enumerate(block.embeddings):
        logits = [
            (sum(float(w) * float(e) for w, e in zip(weight, embedding, strict=True)) + float(b))
            / head.temperature
            for weight, b in zip(head.weight, head.bias, strict=True)
        ]
        total = sum(math.exp(v) for v in logits)
        expected = [math.exp(v) / total for v in logits]
        found = [columns[f"p_{name}"][i] for name in CLASSES]
        assert found == pytest.approx(expected, abs=1e-5)
        assert columns["label"][i] == CLASSES[expected.index(max(expected))]
        assert columns["confidence"][i] == pytest.approx(max(expected), abs=1e-5)


def test_a_row_without_embedding_has_no_label_and_no_numbers(model: Model) -> None:
    columns = ResultPlan(model, model.heads["test"]).fill(make_block(bad=(2,)))
    assert columns["label"][2] == "" and columns["message"][2] == "broken"
    for name in ("confidence", "atypicality", *(f"p_{c}" for c in CLASSES)):
        assert math.isnan(columns[name][2])
        assert not np.isnan(columns[name][[0, 1, 3]]).any()
    assert columns["flags"][2] == int(Flags.READ_FAILED)


@pytest.mark.filterwarnings("ignore:overflow|invalid")
def test_shares_that_are_none_are_flagged_and_left_out(model: Model) -> None:
    block = make_block(bad=(2,))
    block.embeddings[1] = 3e38
    whole = model.heads["test"]
    head = replace(whole, weight=np.ascontiguousarray(whole.weight * 10))
    columns = ResultPlan(model, head).fill(block)
    assert columns["flags"][1] & Flags.HEAD_FAILED and not columns["flags"][0] & Flags.HEAD_FAILED
    assert columns["flags"][2] == int(Flags.READ_FAILED) and columns["message"][2] == "broken"
    assert columns["label"][1] == "" and "not finite" in columns["message"][1]
    assert math.isnan(columns["confidence"][1]) and math.isnan(columns[f"p_{CLASSES[0]}"][1])
    assert columns["label"][0] and columns["confidence"][0] > 0


def test_probabilities_that_do_not_sum_to_one_are_no_answer(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(model.heads["test"]),
        "compute_probabilities",
        lambda self, x: np.full((len(x), len(CLASSES)), 0.9, np.float32),
    )
    columns = ResultPlan(model, model.heads["test"]).fill(make_block(bad=()))
    assert set(columns["label"]) == {""} and np.isnan(columns["confidence"]).all()
    assert all(flags & Flags.HEAD_FAILED for flags in columns["flags"])


def test_far_embeddings_are_flagged_as_atypical(model: Model) -> None:
    block = make_block(bad=())
    block.embeddings[1] *= 1000
    columns = ResultPlan(model, model.heads["test"]).fill(block)
    assert columns["atypicality"][1] == 100
    assert columns["flags"][1] & Flags.ATYPICAL


def test_what_is_typical_is_up_to_the_head_where_it_knows(model: Model) -> None:
    rng = np.random.default_rng(3)
    there = (rng.normal(size=(600, 512)) + 20).astype(np.float32)
    own = replace(model.heads["test"], typicality=fit_typicality(there))
    here = rng.normal(size=512).astype(np.float32)
    rows = make_block(2, bad=()).rows
    block = Block(rows, np.stack([there[0], here]))
    by_model = ResultPlan(model, model.heads["test"]).fill(block)["atypicality"]
    assert [bool(row.flags & Flags.ATYPICAL) for row in rows] == [True, False]
    block = Block(make_block(2, bad=()).rows, block.embeddings)
    by_head = ResultPlan(model, own).fill(block)["atypicality"]
    assert [bool(row.flags & Flags.ATYPICAL) for row in block.rows] == [False, True]
    assert by_model[0] == by_head[1] == 100
    assert max(by_model[1], by_head[0]) < 100
    without = replace(model, typicality=None)
    assert "atypicality" in {spec.name for spec in ResultPlan(without, own).specs}
    assert "atypicality" not in {spec.name for spec in ResultPlan(without).specs}


def test_heads_of_one_name_are_told_apart(model: Model) -> None:
    head = model.heads["test"]
    own = fit_typicality(np.random.default_rng(3).normal(size=(600, 512)).astype(np.float32))
    others = [
        replace(head, weight=-head.weight),
        replace(head, bias=head.bias + 1),
        replace(head, typicality=own),
        replace(head, temperature=2 * head.temperature),
    ]
    found = {Pipeline(model, one).describe()["head_sha256"] for one in (head, *others)}
    assert len(found) == 5
    assert Pipeline(model, replace(head, notes={})).describe()["head_sha256"] in found


def test_embeddings_alone_have_no_classes(model: Model) -> None:
    columns = ResultPlan(model, None, with_embedding=True).fill(make_block())
    assert "label" not in columns and not any(name.startswith("p_") for name in columns)


def test_catalogue_columns_are_carried(model: Model) -> None:
    spec = ColumnSpec("z", "float64")
    plan = ResultPlan(model, model.heads["test"], carried=(spec,))
    assert plan.fill(make_block())["z"] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert "z" in {s.name for s in plan.specs}


def test_a_catalogue_knows_positions_better_than_a_name_does(model: Model) -> None:
    by_name = {"stretch": "sdss", "position": "from the file name"}
    rows = []
    for name, place, found, notes in [
        ("name", (188.73999, 1.39599), (188.73333, 1.39583), by_name),
        ("nothing", (1.0, 2.0), (math.nan, math.nan), {}),
        ("wcs", (1.0, 2.0), (10.0, 20.0), {}),
        ("gap", (math.nan, 2.0), (188.73333, 1.39583), by_name),
    ]:
        source = ImageFile(name, "", columns=dict(zip(("ra", "dec"), place, strict=True)))
        row = Row(source, name, "", notes=notes)
        row.ra, row.dec = found
        rows.append(row)
    columns = ResultPlan(model, None).fill(Block(rows, np.zeros((4, 512), np.float32)))
    assert columns["ra"].tolist() == [188.73999, 1.0, 10.0, 188.73333]
    assert columns["dec"].tolist() == [1.39599, 2.0, 20.0, 1.39583]
    assert columns["treatment"][0] == "stretch=sdss"
    assert columns["treatment"][3] == "stretch=sdss; position=from the file name"


def test_a_cutout_that_was_read_before_keeps_its_path(model: Model, mixed_folder: Path) -> None:
    file = next(f for f in sorted(mixed_folder.iterdir()) if f.suffix == ".jpg")
    table = galmorph.classify([galmorph.read_cutout(file)], model=model, head="test", device="cpu")
    assert (table["path"][0], table["object_id"][0]) == (str(file), file.stem)


def test_treatment_is_readable(model: Model) -> None:
    assert ResultPlan(model).fill(make_block())["treatment"][0] == "stretch=sdss; hdu=1"


def test_blocks_are_joined_in_order() -> None:
    parts = [{"a": np.array([1, 2]), "b": ["x", "y"]}, {"a": np.array([3]), "b": ["z"]}]
    joined = concatenate(parts)
    assert joined["a"].tolist() == [1, 2, 3] and joined["b"] == ["x", "y", "z"]
    assert concatenate([]) == {}


def test_provenance_names_all_that_the_result_depends_on(model: Model) -> None:
    options = EngineOptions(device="cpu", precision="float32")
    meta = Pipeline(model, model.heads["test"], options=options).describe()
    assert meta["model"] == "fused_fast" and meta["model_sha256"] == "0" * 64
    assert meta["head"] == "test" and meta["class_names"] == list(CLASSES)
    assert meta["device"] == "cpu" and meta["precision"] == "float32"
    assert meta["preprocessing"]["crop"] == 0.5
    assert {"galmorph", "torch", "numpy", "python", "field", "rendering"} <= set(meta)


def test_classify_gives_one_row_per_file(model: Model, mixed_folder: Path) -> None:
    table = galmorph.classify(mixed_folder, head="test", model=model, device="cpu", workers=1)
    assert list(table["object_id"]) == [f"galaxy_{i:02d}" for i in range(15)]
    assert [bool(label) for label in table["label"]] == [i % 5 not in (1, 3) for i in range(15)]
    total = sum(np.asarray(table[f"p_{name}"], dtype=float) for name in CLASSES)
    good = np.asarray([bool(label) for label in table["label"]])
    np.testing.assert_allclose(total[good], 1, atol=1e-5)
    assert np.isnan(total[~good]).all()
    assert table.meta["model"] == "fused_fast"


def test_classify_can_raise(model: Model, mixed_folder: Path) -> None:
    with pytest.raises(OSError, match="galaxy_01"):
        galmorph.classify(mixed_folder, head="test", model=model, on_error="raise")


def test_classify_of_nothing_is_an_empty_table(model: Model) -> None:
    table = galmorph.classify([], head="test", model=model)
    assert len(table) == 0 and "p_spiral" in table.colnames


def test_a_catalogue_goes_before_the_name_of_a_file_that_failed(
    model: Model, tmp_path: Path
) -> None:
    path = write_jpeg(tmp_path / "J100000.00+020000.0.jpg", side=120)
    source = ImageFile("J100000.00+020000.0", str(path), columns={"ra": 150.001, "dec": 2.001})
    (block,) = Pipeline(model, field=FieldOptions(fov=20.0)).run(iter([source]))
    columns = ResultPlan(model, None).fill(block)
    assert (columns["ra"][0], columns["dec"][0]) == (150.001, 2.001)
    assert columns["flags"][0] == Flags.READ_FAILED
