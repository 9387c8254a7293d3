"""Cutouts to train on out of every kind of source, with their classes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from synthetic import make_flux
from two_classes import draw_galaxy

from galmorph.cli.main import cli
from galmorph.errors import CatalogueError
from galmorph.model import read_model
from galmorph.settings import ReadOptions, RenderOptions
from galmorph.training.data import TrainingSet, is_held_out, load_training_set

KINDS = ["round", "edge_on"] * 3
PICTURES = np.stack([draw_galaxy(kind, i, 24) for i, kind in enumerate(KINDS)])


def write_source(folder: Path, kind: str) -> tuple[Path, dict[str, str]]:
    """Six images, and what `load_training_set` needs to know of where their classes are."""
    path = folder / f"set.{kind}"
    if kind == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["part/images"], file["part/kind"] = PICTURES, KINDS
        return path, {"label_column": "kind"}
    if kind == "npz":
        np.savez(path, x=PICTURES, kind=np.array(KINDS))
        return Path(f"{path}::x"), {"label_column": "kind"}
    for number, (name, picture) in enumerate(zip(KINDS, PICTURES, strict=True)):
        (folder / "files" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / "files" / name / f"{number}.png")
    if kind == "tar":
        with tarfile.open(path, "w") as shard:
            shard.add(folder / "files", ".")
    elif kind == "csv":
        rows = [f"files/{name}/{i}.png,{name}" for i, name in enumerate(KINDS)]
        path.write_text("\n".join(["file,label", *rows, "files/none.png,round"]) + "\n")
        return path, {"path_column": "file", "label_column": "label"}
    elif kind == "parquet":
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        files = [folder / "files" / name / f"{i}.png" for i, name in enumerate(KINDS)]
        data = {"image": [f.read_bytes() for f in files], "type": KINDS, "id": list(range(6))}
        parquet.write_table(pa.table(data), path)
        return path, {"label_column": "type"}
    else:
        path = folder / "files"
    return path, {}


def get_contents(data: TrainingSet) -> set[tuple[int, str]]:
    """Which picture has which class."""
    flat = PICTURES.transpose(0, 3, 1, 2).reshape(len(PICTURES), -1)
    rows = [int((flat == image.reshape(-1)).all(axis=1).argmax()) for image in data.images]
    names = [data.class_names[d][c] for d, c in zip(data.domains, data.labels, strict=True)]
    return set(zip(rows, names, strict=True))


@pytest.mark.parametrize("kind", ["folder", "tar", "h5", "npz", "csv", "parquet"])
def test_every_kind_gives_the_same_images_and_classes(tmp_path: Path, kind: str) -> None:
    source, columns = write_source(tmp_path, kind)
    found = load_training_set([source], frame_size=24, **columns)
    assert found.class_names == (("edge_on", "round"),)
    assert get_contents(found) == set(enumerate(KINDS))
    assert len(found.skipped) == (1 if kind == "csv" else 0)


def test_an_npy_stack_has_no_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PICTURES.transpose(0, 3, 1, 2))
    found = load_training_set([tmp_path / "a.npy"], frame_size=24)
    assert len(found) == 6
    assert (found.labels == -1).all()
    with pytest.raises(CatalogueError, match=r"a\.npy: no 'kind' .*; there are none"):
        load_training_set([tmp_path / "a.npy"], frame_size=24, label_column="kind")


def test_without_a_column_only_folders_name_classes(tmp_path: Path) -> None:
    for kind, options in (("h5", {}), ("csv", {"path_column": "file"})):
        source, _ = write_source(tmp_path, kind)
        found = load_training_set([source], frame_size=24, **options)
        assert (found.labels == -1).all()
        assert found.class_names == ((),)


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    table, columns = write_source(tmp_path, "csv")
    with pytest.raises(CatalogueError, match=r"set\.csv: no 'x' for .*; there are file, label"):
        load_training_set([table], **{**columns, "label_column": "x"})
    with pytest.raises(CatalogueError, match="no column x"):
        load_training_set([table], path_column="x")
    np.savez(tmp_path / "few.npz", x=PICTURES, kind=np.array(KINDS[:4]))
    stack = str(tmp_path / "few.npz::x")
    for name in ("kind", "x"):  # of another length, and of more axes
        with pytest.raises(CatalogueError, match=f"no '{name}' for --label-column; there are none"):
            load_training_set([stack], frame_size=24, label_column=name)


def test_held_out_labels_go_by_the_identifiers_that_fit_sees(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    names = [f"J{i}.5+30.2" for i in range(6)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["kind"], file["object_id"] = PICTURES, KINDS, names
    found = load_training_set([tmp_path / "a.h5"], frame_size=24, label_column="kind")
    assert found.object_ids == tuple(names)
    held = [is_held_out(name, 0.5) for name in names]
    assert ((found.hold_out(0.5).labels == -1) == held).all()
    assert 0 < sum(held) < 6


def test_progress_counts_read_and_skipped(tmp_path: Path) -> None:
    table, columns = write_source(tmp_path, "csv")
    seen: list[tuple[int, int]] = []
    load_training_set([table], frame_size=24, on_progress=lambda *c: seen.append(c), **columns)
    assert seen == [(i, 0) for i in range(1, 7)] + [(6, 1)]


def call(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["pretrain", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def test_the_command_takes_tables_and_says_what_it_found(tmp_path: Path) -> None:
    table, _ = write_source(tmp_path, "csv")
    where = (table, "-o", tmp_path / "run")
    result = call(*where, status=2)
    assert "set.csv is a table: say its --path-column NAME" in result.output
    few = ("--batch-size", 6, "--epochs", 1, "--precision", "float32", "--recipe", "guided")
    result = call(*where, "--path-column", "file", "--label-column", "label", *few)
    assert "1 image skipped, listed in" in result.output
    assert "6 images, 6 with a label (2 classes)\n" in result.output
    assert "no kNN curve: it takes 16 held-out labels of one source, not " in result.output
    assert '"step": 1,' in (tmp_path / "run" / "log.jsonl").read_text()
    assert "none.png: " in (tmp_path / "run" / "skipped.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--path-column", "file"], "--path-column needs a table among DATA"),
        (["--resume"], "holds no checkpoint to go on from"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    tmp_path: Path, arguments: list[object], message: str
) -> None:
    assert message in call(tmp_path, "-o", tmp_path / "run", *arguments, status=2).output


def test_a_loss_that_is_not_finite_stops_the_command(tmp_path: Path) -> None:
    source, _ = write_source(tmp_path, "folder")
    recipe = tmp_path / "wild.toml"
    recipe.write_text('optimizer = "sgd"\nlr = 1e30\nbatch_size = 6\nepochs = 3\n')
    where = (source, "--recipe", recipe, "-o", tmp_path / "run", "--precision", "float32")
    result = call(*where, status=1)
    assert "Error: the loss of step 2 is nan; there is no checkpoint yet: start" in result.output
    result = call(*where, "--save-every", 1e-9, status=1)
    assert "Error: the loss of step 2 is nan; the last good checkpoint is kept" in result.output
    assert (tmp_path / "run" / "checkpoint.pt").exists()


def test_flux_is_rendered_as_the_options_say(tmp_path: Path) -> None:
    from astropy.io import fits

    for number in range(4):
        flux = make_flux(("g", "r", "z"), side=60, seed=number)
        fits.PrimaryHDU(flux).writeto(tmp_path / f"{number}.fits")  # nothing names the planes
    cutouts = tmp_path / "*.fits"
    run = (cutouts, "--batch-size", 2, "--epochs", 0.5, "--precision", "float32")
    assert "as in --bands g,r,z" in call(*run, "-o", tmp_path / "none", status=1).stderr
    pixels = ("--bands", "g,r,z", "--stretch", "asinh")
    result = call(*run, "-o", tmp_path / "run", *pixels, "-q")
    assert "treated in the same way: --bands g,r,z --stretch asinh" in result.stderr
    model = read_model(tmp_path / "run" / "model.safetensors")
    treatment = model.provenance["pretraining"]["treatment"]
    assert treatment == {"bands": "g,r,z", "stretch": "asinh"}

    read = ReadOptions(bands=("g", "r", "z"))
    asinh, lupton = (
        load_training_set([str(cutouts)], read=read, rendering=RenderOptions(stretch=stretch))
        for stretch in ("asinh", "lupton")
    )
    assert len(asinh) == len(lupton) == 4
    assert (asinh.images != lupton.images).any()
