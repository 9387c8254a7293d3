"""URLs in place of paths: a bucket that misbehaves, and memory://."""

from __future__ import annotations

import pickle
import sys
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from bucket import SECRET, Bucket, forget_connections, serve_bucket
from click.testing import CliRunner, Result
from inference_model import make_model
from PIL import Image
from synthetic import make_flux, make_header, make_rgb

import galmorph
from galmorph import remote
from galmorph.cli.main import cli
from galmorph.errors import (
    ImageError,
    MissingExtraError,
    NotAnsweredError,
    OptionError,
    SurveyError,
    UnreadableImageError,
)
from galmorph.images import ahead
from galmorph.images.discover import discover_sources
from galmorph.images.memory import Copied
from galmorph.images.read import read_cutout
from galmorph.inference import reading
from galmorph.inputs import open_inputs
from galmorph.model import write_heads, write_model
from galmorph.settings import RunOptions
from galmorph.tables.catalogue import read_catalogue
from galmorph.thumbnails import Pictures

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
pytest.importorskip("moto.server")
pq = pytest.importorskip("pyarrow.parquet")
h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")

TOP = "s3://galaxies"


@pytest.fixture(scope="module")
def served() -> Iterator[Bucket]:
    with serve_bucket() as found:
        yield found


@pytest.fixture
def bucket(served: Bucket, tmp_path, monkeypatch) -> Bucket:
    monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "loopback")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "_named", set())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    served.faults, served.pace = {}, 0.0
    served.asked.clear()
    forget_connections()
    return served


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    write_model(path, make_model())
    return path


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind of input."""
    top = tmp_path_factory.mktemp("tree")
    (top / "images/deeper").mkdir(parents=True)
    for k in range(4):
        Image.fromarray(make_rgb(seed=k)).save(top / f"images/g{k}.jpg")
    Image.fromarray(make_rgb(seed=9)).save(top / "images/deeper/x.png")
    header = make_header(BANDS="grz", SURVEY="LegacySurvey")
    fits.PrimaryHDU(make_flux(), header).writeto(top / "images/f.fits")
    for name in ("s0", "s1"):
        with tarfile.open(top / f"{name}.tar", "w") as shard:
            for k in range(3):
                shard.add(top / f"images/g{k}.jpg", f"{name}_{k}.jpg")
    stack = np.stack([make_rgb(seed=k) for k in range(3)])
    np.save(top / "stack.npy", stack)
    np.savez(top / "stack.npz", images=stack, ra=np.arange(3.0))
    with h5py.File(top / "stack.h5", "w") as file:
        file["images"] = stack
    zarr.open_group(top / "stack.zarr", mode="w").create_array(
        "images", data=stack, chunks=(1, *stack.shape[1:])
    )
    data = [(top / f"images/g{k}.jpg").read_bytes() for k in range(3)]
    import pyarrow as pa

    pq.write_table(pa.table({"image": data, "z": [0.1, 0.2, 0.3]}), top / "rows.parquet")
    return top


def put(tree: Path, url: str) -> None:
    fsspec.filesystem("s3").put(f"{tree}/", f"{url}/", recursive=True)


def read_back(name: str):
    return pq.read_table(f"galaxies/{name}", filesystem=fsspec.filesystem("s3"))


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)), prog_name="galmorph")


def classify(model_file: Path, out: object, *words: object) -> Result:
    given = ("--model", model_file, "--head", "test", "--device", "cpu", "-q")
    return run("classify", *words, "-o", out, *given)


KINDS = (
    "images", "images/f.fits[0]", "s{0..1}.tar", "s0.tar::s0_1.jpg", "stack.npy", "stack.npz",
    "stack.h5::images", "stack.zarr", "rows.parquet", "images/g*.jpg", "stack.npy[1]",
    "rows.parquet::image[2]",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_gives_the_sources_of_a_folder(bucket, tree, tmp_path, kind):
    put(tree, f"{TOP}/tree")
    expected = list(discover_sources(f"{tree}/{kind}"))
    found = list(ahead.bring_ahead(discover_sources(f"{TOP}/tree/{kind}"), connections=4))
    assert [s.address for s in found] == [
        s.address.replace(str(tree), f"{TOP}/tree") for s in expected
    ]
    for there, here in zip(found, expected, strict=True):
        assert there.object_id == here.object_id
        assert there.columns == here.columns
        pixels = read_cutout(pickle.loads(pickle.dumps(there))).array
        assert np.array_equal(pixels, read_cutout(here).array)
    del found, there
    assert not list(tmp_path.glob("galmorph_*"))  # the copies have gone


def test_a_model_and_a_head_come_from_a_bucket(bucket, tree, tmp_path, model_file):
    model, top = galmorph.load_model(model_file), f"{TOP}/models"
    write_heads(tmp_path / "own.safetensors", {"own": model.get_head("test")}, model=model.name)
    fsspec.filesystem("s3").put([str(model_file), f"{tmp_path}/own.safetensors"], f"{top}/")
    given = ("--device", "cpu", "-q", "--model", f"{top}/random.safetensors")
    for name, head in (("a.csv", "test"), ("b.csv", f"{top}/own.safetensors")):
        done = run("classify", tree / "images", "-o", tmp_path / name, *given, "--head", head)
        assert done.exit_code == 0, done.output
    a, b = (Table.read(tmp_path / name) for name in ("a.csv", "b.csv"))
    assert list(a["label"]) == list(b["label"]) and all(a["label"])
    assert not list(tmp_path.glob("galmorph_*"))
    for words in (
        ("--model", f"{top}/no.safetensors"),
        (*given, "--head", f"{top}/no.safetensors"),
    ):
        done = run("classify", tree / "images", "-o", tmp_path / "c.csv", *words)
        assert done.exit_code == 2
        assert f"{top}/no.safetensors: there is no such file" in done.output
    fsspec.filesystem("s3").pipe(f"{top}/bad.safetensors", b"no weights")
    done = run(
        "classify", tree / "images", "-o", tmp_path / "c.csv", "--model", f"{top}/bad.safetensors"
    )
    assert (done.exit_code, f"{top}/bad.safetensors" in done.output) == (1, True), done.output


def test_from_bucket_to_bucket(bucket, tree, tmp_path, model_file):
    put(tree, f"{TOP}/tree")
    here, there = tmp_path / "here.parquet", f"{TOP}/out/there.parquet"
    assert classify(model_file, here, tree / "images").exit_code == 0
    result = classify(model_file, there, f"{TOP}/tree/images")
    assert result.exit_code == 0, result.output
    expected = pq.read_table(here)
    found = read_back("out/there.parquet")
    for name in ("object_id", "label", "confidence", "flags"):
        assert found[name] == expected[name]
    written = str(found.schema.metadata)
    assert SECRET not in written
    assert "127.0.0.1" not in written
    again = classify(model_file, there, f"{TOP}/tree/images")
    assert "is there already" in again.output
    again = classify(model_file, there, f"{TOP}/tree/images", "--resume")
    assert (again.exit_code, "was finished by an earlier run" in again.output) == (0, True)
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_run_that_is_stopped_goes_on(bucket, tree, tmp_path, model_file, monkeypatch):
    data = (tree / "images/g0.jpg").read_bytes()
    for k in range(24):
        fsspec.filesystem("s3").pipe(f"galaxies/stopped/{k:02}.jpg", data)
    bucket.faults = {"07.jpg": ["403*"]}
    words = (model_file, f"{TOP}/stopped.parquet", f"{TOP}/stopped", "--batch-size", 4)
    usual, read = Copied.read, []

    def stop(source, options):
        read.append(source.object_id)
        if len(read) == 16:
            raise KeyboardInterrupt
        return usual(source, options)

    monkeypatch.setattr(Copied, "read", stop)
    result = classify(*words)
    (partial,) = (tmp_path / "cache").rglob("*.partial")
    assert (result.exit_code, f"rows are kept in {partial}" in result.output) == (130, True)
    monkeypatch.setattr(Copied, "read", usual)
    result = classify(*words, "--resume")
    assert result.exit_code == 0, result.output
    table = read_back("stopped.parquet").to_pylist()
    assert [row["object_id"] for row in table] == [f"{k:02}" for k in range(24)]
    assert [row["object_id"] for row in table if not row["label"]] == ["07"]


def test_an_output_that_cannot_be_sent_is_kept(bucket, tree, tmp_path, model_file):
    put(tree, f"{TOP}/tree")
    words = (model_file, f"{TOP}/kept/there.parquet", f"{TOP}/tree/s0.tar")
    bucket.faults["there.parquet"] = ["403*"]
    result = classify(*words)
    assert "the rows are kept in" in result.output
    assert SECRET not in result.output
    assert "go on with --resume" in result.output
    (partial,) = (tmp_path / "cache").rglob("*.partial")
    bucket.faults.clear()
    assert classify(*words, "--resume").exit_code == 0
    assert not partial.exists()
    assert (
        len(pq.read_table("galaxies/kept/there.parquet", filesystem=fsspec.filesystem("s3"))) == 3
    )


def test_faults_cost_no_row(bucket, tree, tmp_path, monkeypatch):
    put(tree / "images", f"{TOP}/faulty")
    monkeypatch.setattr(remote, "SILENCE_S", 4.0)
    monkeypatch.setattr(remote, "TRIES", 2)
    bucket.faults = {"g0.jpg": ["503"] * 2, "g1.jpg": ["slow"], "g2.jpg": ["slow*"],
                     "g3.jpg": ["403*"]}  # fmt: skip
    found = list(
        ahead.bring_ahead(discover_sources([f"{TOP}/faulty", f"{TOP}/no.jpg"]), connections=4)
    )
    assert [s.object_id for s in found] == ["f", "g0", "g1", "g2", "g3", "x", "no"]
    lost = {s.object_id: s.error for s in found if hasattr(s, "error")}
    assert isinstance(lost["g2"], NotAnsweredError)
    assert "asked 2 times: no answer (FSTimeoutError)" in str(lost["g2"])
    assert "no permission" in str(lost["g3"])
    assert "there is no such file" in str(lost["no"])
    assert set(lost) == {"g2", "g3", "no"}


def test_latency_does_not_set_the_pace(bucket, tree):
    system = fsspec.filesystem("s3")
    for k in range(64):
        system.pipe(f"galaxies/many/{k:03}.jpg", (tree / "images/g0.jpg").read_bytes())
    bucket.pace = 0.1
    found = list(ahead.bring_ahead(discover_sources(f"{TOP}/many"), connections=16))
    assert len(found) == 64
    assert bucket.most > 8


def test_a_large_file_comes_in_parts(bucket, monkeypatch):
    data = np.random.default_rng(0).bytes(100_000)
    fsspec.filesystem("s3").pipe("galaxies/large.bin", data)
    monkeypatch.setattr(remote, "PART_BYTES", 30_000)
    bucket.faults["large.bin"] = ["", "", "503"]
    copy = remote.fetch(f"{TOP}/large.bin")
    assert Path(copy.path).read_bytes() == data
    fsspec.filesystem("s3").pipe("galaxies/empty.jpg", b"")
    with pytest.raises(UnreadableImageError, match="the file is empty"):
        read_cutout(f"{TOP}/empty.jpg")


def test_no_room_for_a_copy_is_an_error_of_the_row(bucket, tree, monkeypatch):
    put(tree / "images", f"{TOP}/room")
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    (lost, *_) = ahead.bring_ahead(discover_sources(f"{TOP}/room/g0.jpg"))
    assert "no copy can be made in /dev/full" in str(lost.error)


def test_a_service_that_is_down_stops_the_run(bucket, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 1)
    monkeypatch.setattr(remote, "SILENCE_S", 0.5)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    sources = discover_sources([f"{TOP}/{k}.jpg" for k in range(100)])
    with pytest.raises(SurveyError, match="50 cutouts in a row .* --resume"):
        list(ahead.bring_ahead(sources, connections=16))


@pytest.mark.parametrize(
    "url",
    ["https://me:hush@host/a.jpg", "s3://key:hush@bucket/a.jpg", "https://h/a?X-Amz-Signature=hush",
     "https://h/a.jpg?token=hush", "s3://bucket/a/../hush.jpg"],
)  # fmt: skip
def test_a_secret_is_refused_and_not_repeated(url, tmp_path, model_file):
    for words in ((url,), (tmp_path, "--within", url)):
        result = classify(model_file, tmp_path / "out.csv", *words)
        assert result.exit_code == 2
        assert "hush" not in result.output
    assert "hush" not in remote.hide_secret(url)


def test_cells_open_nothing_that_the_command_has_not_named(bucket, tree, tmp_path, model_file):
    put(tree / "images", f"{TOP}/cells")
    cells = ["g0.jpg", f"{TOP}/cells/g1.jpg", "s3://other/g2.jpg", "https://h/g?token=hush"]
    text = "\n".join(["where,z", *(f"{cell},{k}" for k, cell in enumerate(cells))])
    (tmp_path / "c.csv").write_text(text)
    fsspec.filesystem("s3").put(str(tmp_path / "c.csv"), "galaxies/cells/c.csv")
    words = ("--catalogue", f"{TOP}/cells/c.csv", "--path-column", "where")
    out = tmp_path / "out.fits"
    result = classify(model_file, out, *words)
    assert result.exit_code == 0, result.output
    table = Table.read(out)
    assert [bool(label) for label in table["label"]] == [True, True, False, False]
    assert "--within s3://other" in table["message"][2]
    assert b"hush" not in out.read_bytes()
    assert not any("other" in request for request in bucket.asked)
    remote._named.clear()
    result = classify(model_file, tmp_path / "o.csv", "--catalogue", tmp_path / "c.csv", *words[2:])
    assert "not one cutout could be used" in result.output
    words = ("--catalogue", tmp_path / "c.csv", *words[2:], "--within", f"{TOP}/cells")
    assert classify(model_file, tmp_path / "p.csv", *words).exit_code == 0
    labels = Table.read(tmp_path / "p.csv")["label"]
    assert [label is not np.ma.masked for label in labels] == [False, True, False, False]


def test_tables_of_a_bucket(bucket, tmp_path):
    for k in range(2):
        Table({"object_id": [f"a{k}"], "ra": [1.0], "dec": [k]}).write(tmp_path / f"{k}.parquet")
    (tmp_path / "hats").mkdir()
    fsspec.filesystem("s3").put(str(tmp_path / "0.parquet"), "galaxies/hats/Norder=0/a.parquet")
    fsspec.filesystem("s3").put(str(tmp_path / "1.parquet"), "galaxies/hats/Norder=1/b.parquet")
    rows = list(read_catalogue(f"{TOP}/hats"))
    assert [row.object_id for row in rows] == ["a0", "a1"]


def test_commands_on_tables_of_a_bucket(bucket, tree, tmp_path, model_file):
    put(tree / "images", f"{TOP}/parts")
    parts = [f"{TOP}/parts/{k}.parquet" for k in range(2)]
    for k, part in enumerate(parts):
        assert classify(model_file, part, f"{TOP}/parts/g{k}.jpg").exit_code == 0
    out, page = f"{TOP}/parts/all.fits", f"{TOP}/parts/page.html"
    assert run("merge", *parts, "-o", out).exit_code == 0
    assert "is there already" in run("merge", *parts, "-o", out).output
    result = run("report", out, "-o", page)
    assert result.exit_code == 0, result.output
    copy = remote.fetch(page)
    assert "data:image/jpeg" in Path(copy.path).read_text()


def test_a_row_for_each_hdu_of_a_bucket(bucket, tmp_path):
    hdus = [fits.PrimaryHDU()]
    for k in range(3):
        header = make_header(BANDS="grz", SURVEY="LegacySurvey")
        hdus.append(fits.ImageHDU(make_flux(seed=k), header, name=f"G{k}"))
    fits.HDUList(hdus).writeto(tmp_path / "many.fits")
    fsspec.filesystem("s3").put(str(tmp_path / "many.fits"), "galaxies/each/many.fits")
    found = list(open_inputs(RunOptions(f"{TOP}/each", hdu="each")).list_sources())
    assert [s.object_id for s in found] == ["many_G0", "many_G1", "many_G2"]
    assert [s.address for s in found] == [f"{TOP}/each/many.fits[{k}]" for k in (1, 2, 3)]
    assert np.array_equal(read_cutout(found[1]).array, make_flux(seed=1)[:, ::-1])


def test_a_table_shown_again_opens_nothing(bucket):
    rows = [{"object_id": str(k), "path": path} for k, path in enumerate(
        (f"{TOP}/a.jpg", f"{TOP}/s.tar::a.jpg", f"{TOP}/s.zarr::images[0]", "http://127.0.0.1:9/a.fits")
    )]  # fmt: skip
    joined = {"paths": [f"{TOP}/x"], "bands_from_name": "{id}_{band}.fits"}
    survey = {"survey": "sdss", "survey_url": bucket.url, "catalogue": __file__}
    for inputs in ({}, joined, survey, {"survey": "sdss", "catalogue": f"{TOP}/c.csv"}):
        pictures = Pictures.of({"inputs": inputs})
        for source in pictures.find(rows):
            with pytest.raises(ImageError, match="opened only where the command names"):
                pictures.open(source)
    assert not bucket.asked


def test_a_mosaic_of_a_bucket(bucket, tree, tmp_path):
    put(tree / "images", f"{TOP}/mosaic")
    (tmp_path / "c.csv").write_text("object_id,ra,dec\na,150.1,2.2\nb,10,10\n")
    given = {"catalogue": tmp_path / "c.csv", "fov": 8.0}
    inputs = open_inputs(RunOptions(**given, mosaic=[f"{TOP}/mosaic/f.fits"]))
    first, second = inputs.list_sources()
    assert first.address == f"{TOP}/mosaic/f.fits"
    assert read_cutout(first).array.shape[1:] == (31, 31)
    with pytest.raises(ImageError, match=f"^{TOP}/mosaic/f.fits: "):
        read_cutout(second)


def test_a_copy_goes_with_its_last_use(bucket, tree, tmp_path, monkeypatch):
    for k in range(200):
        data = (tree / "images/g0.jpg").read_bytes()
        fsspec.filesystem("s3").pipe(f"galaxies/long/{k:03}.jpg", data)
    most, usual = [], reading.read_cutout

    def count(source, **options):
        most.append(len(list(tmp_path.glob("galmorph_*"))))
        return usual(source, **options)

    monkeypatch.setattr(reading, "read_cutout", count)
    given = {"model": make_model(), "device": "cpu", "workers": 1, "batch_size": 8}
    vectors = galmorph.embed(f"{TOP}/long", connections=2, **given)
    assert vectors.shape == (200, 512)
    assert max(most) < 120


class _Web(BaseHTTPRequestHandler):
    """``/g.jpg`` at the second try, without parts; a page of HTML for all else."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[Counter[str]] = Counter()

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked[self.path] += 1
        data = self.files.get(self.path, b"<!doctype html><html><title>Hello</title></html>")
        self.send_response(503 if self.asked[self.path] == 1 else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_files_of_a_web_server(tree, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_PAUSE_S", 0.01)
    _Web.files["/g.jpg"] = (tree / "images/g0.jpg").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        top = f"http://127.0.0.1:{server.server_port}"
        assert read_cutout(f"{top}/g.jpg").array.shape == (3, 64, 64)
        assert _Web.asked["/g.jpg"] == 2
        with pytest.raises(ImageError, match=rf"^{top}/other: this is a web page"):
            read_cutout(f"{top}/other")
        server.shutdown()
        thread.join()


def test_memory(tree):
    remote.allow("memory://here/a")
    fsspec.filesystem("memory").pipe("/here/a.jpg", (tree / "images/g0.jpg").read_bytes())
    table = galmorph.embed("memory://here", model=make_model(), device="cpu", progress=False)
    assert table.shape == (1, 512)
    mixed = iter(["memory://here/a.jpg", make_rgb()])
    assert galmorph.embed(mixed, model=make_model(), device="cpu", progress=False).shape == (2, 512)


def test_no_name_of_a_service_leads_out_of_a_copy(monkeypatch):
    assert remote.find_name("s3://b/a/..") == "file"
    assert remote.find_name("https://h/.x y.jpg?q=1") == "x_y.jpg"
    names = ["memory://t/a.parquet", "memory://t/../b.parquet"]
    monkeypatch.setattr(remote, "list_urls", lambda *_: names)
    with pytest.raises(OptionError, match="goes up"):
        remote.fetch_tree("memory://t", (".parquet",))


def test_a_library_that_is_not_there(monkeypatch):
    remote._get_system.cache_clear()
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"fsspec is needed for s3:// URLs; .*\[remote\]"):
        read_cutout("s3://bucket/a.jpg")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"gcsfs is needed for gs:// URLs"):
        read_cutout("gs://bucket/a.jpg")
    with pytest.raises(OptionError, match="knows no such service"):
        read_cutout("nosuch://bucket/a.jpg")


def test_a_file_url_is_a_path(tree):
    assert read_cutout((tree / "images/g0.jpg").as_uri()).path == str(tree / "images/g0.jpg")
