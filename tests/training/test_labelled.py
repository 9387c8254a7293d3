"""Labels from tables and folders; fields of view of images that show part of a frame."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from inference_model import make_model
from two_classes import draw_galaxy

from galmorph.errors import CatalogueError, TrainingError
from galmorph.images.archives import Member
from galmorph.images.discover import discover_sources
from galmorph.images.files import ImageFile
from galmorph.images.inputs import to_sources
from galmorph.pipeline import Pipeline
from galmorph.preprocessing.pipeline import Preprocessing
from galmorph.settings import EngineOptions
from galmorph.training.labelled import (
    choose_field,
    embed_labelled,
    label_by_folder,
    read_labels,
    to_label,
)


def make_pipeline() -> Pipeline:
    return Pipeline(make_model(), options=EngineOptions(workers=1, precision="float32"))


def test_labels_of_a_table_by_object_id(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("name,morphology\n587722952767439450, edge-on\n2,round\n3,\n")
    found = read_labels(table, label_column="morphology", id_column="name")
    assert found == {"587722952767439450": "edge-on", "2": "round"}
    with pytest.raises(CatalogueError, match="no column 'label'; there are name, morphology"):
        read_labels(table)


def test_identifiers_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("object_id,label\n1e5,E\n12.50,S\n1.10,E\n7,S\n")
    assert read_labels(table) == {"1e5": "E", "12.50": "S", "1.10": "E", "7": "S"}


def test_contradictions_and_empty_columns_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("object_id,label\na,round\na,spiral\n")
    with pytest.raises(CatalogueError, match="'a' has two classes, 'round' and 'spiral'"):
        read_labels(table)
    table.write_text("object_id,label\na,\n")
    with pytest.raises(CatalogueError, match="holds no label"):
        read_labels(table)


def test_labels_of_fits_tables(tmp_path: Path) -> None:
    from astropy.table import Table

    Table({"object_id": ["a", "b"], "label": ["x", "y"]}).write(tmp_path / "t.fits")
    assert read_labels(tmp_path / "t.fits") == {"a": "x", "b": "y"}


def test_label_by_folder_on_disk_and_in_shards() -> None:
    assert label_by_folder(ImageFile("a", "set/edge-on/a.jpg")) == "edge-on"
    assert label_by_folder(Member("a", "set/x.tar", "spiral/a.jpg", 0, 1)) == "spiral"
    assert label_by_folder(Member("a", "set/x.tar", "a.jpg", 0, 1)) is None


def test_field_of_view_is_a_fraction_of_the_original_frame() -> None:
    weights = Preprocessing()
    assert choose_field(None, weights).crop is None
    assert choose_field(0.6, weights).crop == 0.6
    assert choose_field("auto", weights, data_frame=0.5).crop == "auto"
    of_shard = choose_field(None, weights, data_frame=224 / 424)
    assert of_shard.crop == pytest.approx(180 / 224)
    assert choose_field(0.5, weights, data_frame=0.5).crop == 1.0
    with pytest.raises(TrainingError, match="do not hold a field of view of 0.6"):
        choose_field(0.6, weights, data_frame=224 / 424)


def test_embeddings_carry_their_labels(galaxies: Path, tmp_path: Path) -> None:
    data = shutil.copytree(galaxies / "test", tmp_path / "data")
    (data / "round" / "broken.png").write_bytes(b"no picture")
    shutil.copy(data / "round" / "round50.png", data / "loose.png")
    done = []
    found = embed_labelled(
        make_pipeline(), discover_sources(data), label_by_folder, on_progress=done.append
    )
    assert found.class_names == ("data", "edge_on", "round")
    found = embed_labelled(
        make_pipeline(), discover_sources(data), label_by_folder, class_names=("round", "edge_on")
    )
    assert found.embeddings.shape == (16, 512)
    for name, label in zip(found.object_ids, found.labels, strict=True):
        assert name.startswith(found.class_names[label])
    assert found.unlabelled == 1
    assert len(found.failed) == 1
    assert found.failed[0].startswith(str(data / "round" / "broken.png"))
    assert found.failed[0].count("broken.png") == 1
    assert done[-1] == 18


def test_table_labels_pick_their_cutouts(galaxies: Path) -> None:
    labels = {"round50": "E", "edge_on150": "S"}
    found = embed_labelled(make_pipeline(), discover_sources(galaxies / "test"), labels)
    assert set(found.object_ids) == set(labels)
    assert found.unlabelled == 14
    whole = embed_labelled(make_pipeline(), discover_sources(galaxies / "test"), label_by_folder)
    row = whole.object_ids.index("round50")
    np.testing.assert_allclose(
        found.embeddings[found.object_ids.index("round50")], whole.embeddings[row], atol=1e-4
    )


def test_no_label_at_all_says_what_to_look_at(galaxies: Path) -> None:
    with pytest.raises(TrainingError, match="none of 16 cutouts has a label.*'edge_on150'"):
        embed_labelled(make_pipeline(), discover_sources(galaxies / "test"), {"other": "x"})
    labels = {"edge_on150.png": "flat", "round50.png": "round"}
    message = r"first is 'edge_on150', .* table 'edge_on150\.png': an .* without its ending"
    with pytest.raises(TrainingError, match=message):
        embed_labelled(make_pipeline(), discover_sources(galaxies / "test"), labels)
    with pytest.raises(TrainingError, match="of those asked for; there are edge_on, round: see --"):
        embed_labelled(
            make_pipeline(),
            discover_sources(galaxies / "test"),
            label_by_folder,
            class_names=("x", "y"),
        )
    with pytest.raises(TrainingError, match="'edge_on150': its folder must be a class"):
        embed_labelled(make_pipeline(), discover_sources(galaxies / "test"), lambda source: None)
    with pytest.raises(TrainingError, match="there is no cutout"):
        embed_labelled(make_pipeline(), [], {"other": "x"})


def test_cells_without_a_label(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("object_id,label\na,E\nb,\nc,nan\nd,--\ne,S0\n")
    assert read_labels(table) == {"a": "E", "e": "S0"}
    assert [to_label(cell) for cell in (2.0, 3, 1.5, float("nan"), None)] == [
        "2",
        "3",
        "1.5",
        "",
        "",
    ]


def test_an_image_counts_once(galaxies: Path) -> None:
    sources = list(discover_sources(galaxies / "test"))
    found = embed_labelled(make_pipeline(), [*sources, *sources[:3]], label_by_folder)
    assert len(found.labels) == len(set(found.addresses)) == 16
    assert found.repeated == 3


def test_an_image_counts_once_however_its_path_is_spelled(
    galaxies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(galaxies)
    (tmp_path / "link").symlink_to(galaxies / "test")
    spelled = ["test", "./test", "test/../test", galaxies / "test", tmp_path / "link"]
    found = embed_labelled(make_pipeline(), discover_sources(spelled), label_by_folder)
    assert len(found.labels) == len(set(found.addresses)) == 16
    assert found.repeated == 4 * 16
    assert found.addresses[0] == str((galaxies / "test" / "edge_on" / "edge_on150.png").resolve())


def test_members_of_one_file_are_told_apart(galaxies: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    images = [draw_galaxy("round", seed) for seed in range(3)]
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["images"] = np.stack(images)
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.add(galaxies / "test" / "round", "round")
    paths = [tmp_path / "stack.h5::images", tmp_path / "stack.h5::/images", tmp_path / "shard.tar"]
    found = embed_labelled(make_pipeline(), discover_sources(paths), lambda _: "round")
    assert len(found.labels) == len(set(found.addresses)) == 3 + 8
    assert found.repeated == 3


def test_what_is_in_memory_is_never_taken_for_the_same() -> None:
    images = [draw_galaxy("round", seed) for seed in range(3)]
    one, other = (
        embed_labelled(make_pipeline(), to_sources(images), lambda _: "round") for _ in range(2)
    )
    assert len(one.labels) == 3
    assert one.repeated == 0
    one.check_apart(other)


def test_a_training_part_that_holds_test_cutouts_is_refused(galaxies: Path) -> None:
    test, both = (
        embed_labelled(make_pipeline(), discover_sources(paths), label_by_folder)
        for paths in (galaxies / "test", [galaxies / "train", galaxies / "test" / "round"])
    )
    with pytest.raises(TrainingError, match=r"8 of 16 test cutouts .*round50\.png the first of"):
        test.check_apart(both)


def test_an_image_with_two_labels_is_refused(galaxies: Path) -> None:
    one, *_ = discover_sources(galaxies / "test")
    labels = iter(("round", "spiral"))
    with pytest.raises(TrainingError, match=r"has two labels, 'round' and 'spiral'; keep one"):
        embed_labelled(make_pipeline(), [one, one], lambda _: next(labels))


@pytest.mark.parametrize("pair", [("E+", "E-"), ("Sab", "SAB"), ("edge-on", "edge_on")])
def test_labels_that_would_be_one_class_are_refused(galaxies: Path, pair: tuple[str, str]) -> None:
    sources = list(discover_sources(galaxies / "test"))[:2]
    labels = dict(zip((source.object_id for source in sources), pair, strict=True))
    with pytest.raises(TrainingError, match="would be one class"):
        embed_labelled(make_pipeline(), sources, labels)


def test_classes_without_a_cutout_are_named(galaxies: Path) -> None:
    found = embed_labelled(
        make_pipeline(),
        discover_sources(galaxies / "test"),
        label_by_folder,
        class_names=("round", "ring"),
    )
    with pytest.raises(TrainingError, match="no cutout has the label ring; there are edge_on, ro"):
        found.check_classes()


def test_two_images_of_one_identifier_do_not_share_a_label(galaxies: Path, tmp_path: Path) -> None:
    first = next((galaxies / "test").rglob("*.png"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(first, tmp_path / folder / "1.png")
    sources = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(TrainingError, match=r"a/1\.png and .*b/1\.png are both '1'"):
        embed_labelled(make_pipeline(), discover_sources(sources), {"1": "round"})
    found = embed_labelled(make_pipeline(), discover_sources([sources[0]] * 2), {"1": "round"})
    assert (len(found.labels), found.repeated) == (1, 1)


def test_labels_without_an_image_are_named(galaxies: Path, tmp_path: Path) -> None:
    first = next((galaxies / "test").rglob("*.png"))
    shutil.copy(first, tmp_path / "1.png")
    labels = {"2": "round", "1": "round", "1.png": "round"}
    found = embed_labelled(make_pipeline(), discover_sources([tmp_path]), labels)
    assert found.without_image == ("2", "1.png")
    by_folder = embed_labelled(make_pipeline(), discover_sources([first.parent]), label_by_folder)
    assert by_folder.without_image == ()
