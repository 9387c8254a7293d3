"""A run in parts gives the rows of one run, and goes on where it was left."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from inference_model import make_model
from PIL import Image
from synthetic import make_rgb

from galmorph.errors import OptionError, OutputError, ResumeError
from galmorph.inputs import open_inputs
from galmorph.model import write_model
from galmorph.parts import Done, Folder, Worker, cut_parts
from galmorph.run import open_run
from galmorph.settings import ClassifyOptions

pytest.importorskip("pyarrow", reason="parts are Parquet")

IMAGES, PART = 44, 8
"""One of them is none; five parts and a half."""


def make_place(folder):
    """Images, one of them cut short, a model, and the table of a run that is whole."""
    (folder / "images").mkdir()
    for number in range(IMAGES):
        Image.fromarray(make_rgb(64, seed=number)).save(folder / f"images/g{number:02}.png")
    (folder / "images/g21.png").write_bytes(b"no image")
    write_model(folder / "m.safetensors", make_model())
    for _ in open_run(make_options(folder, output=str(folder / "one.parquet"))).results():
        pass
    return folder


def make_options(folder, **more):
    given = {
        "images": (str(folder / "images"),),
        "model": str(folder / "m.safetensors"),
        "head": "test",
        "precision": "float32",
        "batch_size": 4,
        "device": "cpu",
        "workers": 1,
    }
    return ClassifyOptions(**given | more)


def list_parts(folder):
    return sorted(folder.glob("part-*"))


def digest(path, count=IMAGES):
    """The sha256 of all rows, sorted."""
    from pyarrow import parquet

    tables = [parquet.read_table(p) for p in (list_parts(path) if path.is_dir() else [path])]
    rows = sorted(json.dumps(row) for table in tables for row in table.to_pylist())
    assert len(rows) == count
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("parts"))


def make_parts(place, out, *, tell=lambda rows, _: len(rows), most=99, elsewhere=False, **more):
    """What a cluster does, one part after the other; elsewhere there are no copies of URLs."""
    options, folder = make_options(place, **more), Folder(str(out))
    run = open_run(replace(options, output="", resume=False, overwrite=False))
    resume, overwrite = more.get("resume", False), more.get("overwrite", False)
    there = folder.begin(run.describe(), resume=resume, overwrite=overwrite)
    worker = Worker.of(run, folder, len)
    worker = pickle.loads(pickle.dumps(worker))
    worker.tell = tell
    worker.start()
    listed = cut_parts(run.inputs, folder, there, PART, Counter())
    sent = map(pickle.dumps, islice(listed, most))
    return [worker.make(pickle.loads(part)) for part in (list(sent) if elsewhere else sent)]


def test_rows_are_those_of_a_whole_run(place, tmp_path):
    from galmorph.saved import SavedRun

    done = make_parts(place, tmp_path / "out")
    assert [each.rows for each in done] == [8, 8, 8, 8, 8, 4]
    assert [each.failed for each in done] == [0, 0, 1, 0, 0, 0]
    assert digest(tmp_path / "out") == digest(place / "one.parquet")
    one, parts = SavedRun(place / "one.parquet"), SavedRun(tmp_path / "out")
    assert parts.plain == one.plain
    assert parts.provenance["model_sha256"] == one.provenance["model_sha256"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[-1] == "provenance.json"


def test_what_is_done_is_not_done_again(place, tmp_path):
    out = tmp_path / "out"
    make_parts(place, out, most=3)
    (out / "part-000001.parquet").unlink()
    with pytest.raises(OptionError, match="holds 2 parts of an earlier run; go on with --resume"):
        make_parts(place, out)
    (out / ".1234.tmp").write_bytes(b"half a part")
    kept = {part: part.stat().st_mtime_ns for part in list_parts(out)}
    done = make_parts(place, out, resume=True, output=str(out))
    assert [each.told for each in done] == [None, 8, None, 8, 8, 4]
    assert done[2] == Done(8, 1)
    assert kept == {part: part.stat().st_mtime_ns for part in kept}
    assert not list(out.glob(".*"))
    assert digest(out) == digest(place / "one.parquet")
    make_parts(place, out, most=1, overwrite=True)
    assert len(list_parts(out)) == 1


def test_another_run_does_not_go_on(place, tmp_path):
    out = tmp_path / "out"
    make_parts(place, out)
    given = {"resume": True, "output": str(out)}
    with pytest.raises(ResumeError, match=r"belongs to another run\. field\.crop"):
        make_parts(place, out, crop=0.4, **given)
    few = [str(place / f"images/g{number:02}.png") for number in range(16)]
    folder = Folder(str(out))
    inputs = open_inputs(make_options(place, images=few))
    with pytest.raises(ResumeError, match="part-000002.parquet: the inputs end before it"):
        list(cut_parts(inputs, folder, folder.list_parts(), PART, Counter()))
    inputs = open_inputs(make_options(place, images=few[1:]))
    first = next(cut_parts(inputs, folder, folder.list_parts(), PART, Counter()))
    with pytest.raises(ResumeError, match="part-000000.*holds other cutouts than the inputs"):
        folder.look(first.name, first.sources)
    (out / "provenance.json").write_text("{")
    with pytest.raises(ResumeError, match="cannot be read; start anew with --overwrite"):
        make_parts(place, out, **given)


def test_what_cannot_be_written_is_an_error_that_keeps_the_others(place, tmp_path):
    out = tmp_path / "out"
    (out / "part-000002.parquet").mkdir(parents=True)
    (out / "part-000002.parquet").rename(out / "kept")
    make_parts(place, out, most=2)
    (out / "kept").rename(out / "part-000002.parquet")
    folder = Folder(str(out))
    place_of_one = list_parts(out)[0]
    with pytest.raises(OutputError, match=r"part-000002.*make room and go on with --resume"):
        folder.write("part-000002.parquet", place_of_one.read_bytes())
    assert not list(out.glob(".*"))


def test_images_and_parts_at_urls(place, tmp_path):
    fsspec = pytest.importorskip("fsspec", reason="URLs need the extra remote")
    system, top = fsspec.filesystem("memory"), f"memory://{tmp_path.name}"
    system.put(str(place / "images"), f"{top}/images", recursive=True)
    given = {"images": (f"{top}/images",), "within": top}
    for _ in open_run(make_options(place, output=str(tmp_path / "one.parquet"), **given)).results():
        pass
    make_parts(place, f"{top}/out", most=4, **given)
    system.rm_file(f"{top}/out/part-000001.parquet")
    done = make_parts(place, f"{top}/out", resume=True, output=f"{top}/out", **given)
    assert [each.told for each in done] == [None, 8, None, None, 8, 4]
    system.get(f"{top}/out", str(tmp_path / "out"), recursive=True)
    assert digest(tmp_path / "out") == digest(tmp_path / "one.parquet")
    make_parts(place, f"{top}/out", most=1, overwrite=True, **given)
    assert len(Folder(f"{top}/out").list_parts()) == 1


def pack(system, url, files):
    """A container of images at a URL, by its suffix."""
    import numpy as np

    packed, kind = io.BytesIO(), url.rpartition(".")[2]
    stack = np.stack([make_rgb(64, seed=seed) for seed in range(len(files))])
    if kind == "tar":
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for file in files:
                tar.add(file, file.name)
    elif kind == "npy":
        np.save(packed, stack)
    elif kind == "h5":
        with pytest.importorskip("h5py").File(packed, "w") as file:
            file["images"] = stack
    else:
        import pyarrow
        from pyarrow import parquet

        rows = [{"id": file.stem, "image": file.read_bytes()} for file in files]
        parquet.write_table(pyarrow.Table.from_pylist(rows), packed)
    system.pipe_file(url, packed.getvalue())


@pytest.mark.parametrize("kind", ["tar", "npy", "h5", "parquet"])
def test_containers_at_urls_are_copied_to_the_node_that_reads(place, tmp_path, kind):
    fsspec = pytest.importorskip("fsspec", reason="URLs need the extra remote")
    files = sorted((place / "images").iterdir())[:20]
    urls = tuple(f"memory://{tmp_path.name}/shard-{n}.{kind}" for n in range(2))
    for url, half in zip(urls, (files[:10], files[10:]), strict=True):
        pack(fsspec.filesystem("memory"), url, half)
    given = {"images": urls}
    for _ in open_run(make_options(place, output=str(tmp_path / "one.parquet"), **given)).results():
        pass
    done = make_parts(place, tmp_path / "out", elsewhere=True, **given)
    assert [each.rows for each in done] == [8, 8, 4]
    assert sum(each.failed for each in done) == 0
    assert digest(tmp_path / "out", 20) == digest(tmp_path / "one.parquet", 20)
