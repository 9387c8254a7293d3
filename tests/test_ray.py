"""A cluster gives the rows of one machine, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import growing_cluster
import numpy as np
import pytest
from bucket import SECRET, forget_connections, serve_bucket
from click.testing import CliRunner
from PIL import Image
from survey_server import serve_surveys
from synthetic import make_rgb
from test_howto import run_page
from test_parts import IMAGES, PART, digest, list_parts, make_options, make_place

from galmorph.cli.main import cli
from galmorph.errors import DeviceError, GalmorphWarning, OptionError, OutputError
from galmorph.run import open_run as run_here
from galmorph.settings import ClassifyOptions

ray = pytest.importorskip("ray", reason="the engine ray needs the extra ray")
pytest.importorskip("ray.data", reason="the engine ray needs the extra ray")
parquet = pytest.importorskip("pyarrow.parquet", reason="parts are Parquet")

pytestmark = pytest.mark.filterwarnings("default")  # of Ray and what it brings

OPTIONS = ["--head", "test", "--precision", "float32", "--batch-size", "4", "--device", "cpu"]

MOSAIC = {"images": None, "catalogue": "c.csv", "mosaic": ("s3://galaxies/m.fits",), "fov": 30}


@pytest.fixture(scope="module")
def bucket():
    """One that the processes of the cluster find as well."""
    if not (find_spec("s3fs") and find_spec("moto")):
        yield None
        return
    import s3fs

    with serve_bucket() as served, pytest.MonkeyPatch.context() as patch:
        given = {"ENDPOINT_URL": served.url, "ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": SECRET}
        for name, value in given.items():
            patch.setenv(f"AWS_{name}", value)
        forget_connections()
        yield s3fs.S3FileSystem()


@pytest.fixture(scope="module")
def cluster(bucket, tmp_path_factory):
    """Two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cache = tmp_path_factory.mktemp("cache")
    given = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_log_monitor": False}
    # few processes, where cores are short: Ray gives its own 15 s to start, and actors low priority
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setattr("ray._private.utils.get_dashboard_dependency_error", ImportError)
        patch.setattr("ray._private.node.Node.start_api_server", lambda *_, **__: None)
        try:
            made = Cluster(initialize_head=True, head_node_args=given | {"no_monitor": True})
            made.second = made.add_node(**given)
        except Exception as error:
            pytest.skip(f"Ray gives its processes 15 s to start; here they take longer ({error})")
        ray.init(address=made.address, log_to_driver=False)
    made.cache = str(cache)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("ray"))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr("galmorph.ray.PART_ROWS", {"cpu": PART})


def read_rows(path):
    return parquet.read_table(path).to_pylist()


def open_run(place, output, **more):
    from galmorph.ray import open_cluster_run

    return open_cluster_run(make_options(place, output=str(output), engine="ray", **more))


def test_the_command_gives_the_rows_of_one_machine(cluster, place):
    words = ["classify", str(place / "images"), "-o", str(place / "out"), "--engine", "ray"]
    words += ["--address", cluster.address, "--model", str(place / "m.safetensors"), *OPTIONS]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert f"classified {IMAGES - 1} of {IMAGES} cutouts" in done.output
    assert "failed: 1" in done.output and "g21.png: not an image" in done.output
    assert "2 node(s) of Ray, an actor for each 1 core(s), float32" in done.output
    assert digest(place / "out") == digest(place / "one.parquet")
    list_parts(place / "out")[1].unlink()
    done = CliRunner().invoke(cli, [*words, "--resume"])
    assert done.exit_code == 0, done.output
    assert f"{IMAGES - PART} rows were there from an earlier run, 1 of them failed" in done.output
    assert digest(place / "out") == digest(place / "one.parquet")


def test_a_bucket_is_read_and_written(cluster, bucket, place, tmp_path):
    if bucket is None:
        pytest.skip("S3 needs s3fs, and a server of it moto")
    bucket.put(f"{place}/images/", "galaxies/in/", recursive=True)
    local = {"images": ("s3://galaxies/in",), "output": str(tmp_path / "one.parquet")}
    assert sum(len(block.rows) for block, _ in run_here(make_options(place, **local)).results())
    words = ["classify", "s3://galaxies/in", "-o", "s3://galaxies/out/", "--engine", "ray"]
    words += ["--address", cluster.address, "--model", str(place / "m.safetensors"), *OPTIONS]

    def get(done):
        assert done.exit_code == 0, done.output
        bucket.invalidate_cache()
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        bucket.get("galaxies/out/", f"{tmp_path}/out/", recursive=True)
        assert digest(tmp_path / "out") == digest(tmp_path / "one.parquet")

    get(CliRunner().invoke(cli, words))
    assert not any(SECRET.encode() in path.read_bytes() for path in (tmp_path / "out").iterdir())
    bucket.rm_file("galaxies/out/part-000002.parquet")
    done = CliRunner().invoke(cli, [*words, "--resume"])
    assert f"{IMAGES - PART} rows were there from an earlier run" in done.output
    get(done)


def test_a_zarr_stack_of_a_bucket(cluster, bucket, place, tmp_path):
    zarr = pytest.importorskip("zarr")
    if bucket is None:
        pytest.skip("S3 needs s3fs, and a server of it moto")
    zarr.save_array(tmp_path / "s.zarr", np.stack([make_rgb(64, seed=n) for n in range(20)]))
    bucket.put(f"{tmp_path}/s.zarr", "galaxies/", recursive=True)
    given = {"images": ("s3://galaxies/s.zarr",)}
    one = make_options(place, output=str(tmp_path / "one.parquet"), **given)
    assert sum(len(block.rows) for block, _ in run_here(one).results()) == 20
    list(open_run(place, tmp_path / "out", **given).parts(lambda *_: 1))
    assert digest(tmp_path / "out", 20) == digest(tmp_path / "one.parquet", 20)


def test_the_commands_of_the_page(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", cluster.cache)
    Path("cutouts").mkdir()
    for n in range(3):
        Image.fromarray(make_rgb(424, seed=n)).save(f"cutouts/g{n}.jpg")
    Path("sample.csv").write_text("name,ra,dec\na,40.1,2\nb,40.2,2\nc,40.3,-70\n")
    with serve_surveys() as server:
        monkeypatch.setenv("GALMORPH_SURVEY_URL", server.url)
        run_page("cluster.md", "galmorph classify cutouts/ -o classes/ --engine ray\n")
    (part,) = list_parts(tmp_path / "classes")
    assert all(row["label"] for row in read_rows(part))
    (part,) = list_parts(tmp_path / "sample")
    assert [bool(row["label"]) for row in read_rows(part)] == [True, True, False]
    assert Path("sample.html").read_text().count("data:image/jpeg") >= 2


def test_positions_are_downloaded_where_they_are_used(cluster, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", cluster.cache)
    rows = [f"g{n},{10 + n / 10},{-70 if n == 3 else 2}" for n in range(20)]
    Path("c.csv").write_text("\n".join(["name,ra,dec", *rows, ""]))
    words = ["classify", "--catalogue", "c.csv", "--survey", "sdss", "--connections", "2"]
    words += ["-o", "out/", "--engine", "ray", "--address", cluster.address, *OPTIONS]
    words += ["--report", "out.html", "--model", str(place / "m.safetensors")]
    with serve_surveys(pace=0.05) as server:
        done = CliRunner().invoke(cli, [*words, "--survey-url", server.url])
        assert done.exit_code == 0, done.output
        assert server.asked.total() == 20
        assert server.most <= 2
    assert len(list_parts(tmp_path / "out")) == 3
    rows = [row for part in list_parts(tmp_path / "out") for row in read_rows(part)]
    assert sorted(row["name"] for row in rows) == sorted(f"g{n}" for n in range(20))
    assert [row["name"] for row in rows if not row["label"]] == ["g3"]
    assert "19 of 20 cutouts have a result" in Path("out.html").read_text()


def test_a_part_that_kills_every_actor_ends_the_run(cluster, place, tmp_path, monkeypatch):
    monkeypatch.setattr("galmorph.ray.MOST_DEATHS", 2)

    def tell(rows, columns):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DeviceError, match=r"Ray gave up .*; --resume keeps what is done"):
        list(open_run(place, tmp_path / "out").parts(tell))


def test_a_worker_that_dies_after_its_part_was_written(cluster, place, tmp_path):
    mark = tmp_path / "killed"

    def tell(rows, columns):
        import os
        import signal

        if not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return len(rows)

    told = list(open_run(place, tmp_path / "out").parts(tell))
    assert mark.exists()
    assert sum(told) == IMAGES
    assert digest(tmp_path / "out") == digest(place / "one.parquet")


def test_a_full_disk_stops_the_run_which_goes_on_later(cluster, place, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(out)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(OutputError, match=r"No space left.*go on with --resume"):
            list(open_run(place, out).parts(lambda *_: 1))
        there = len(list_parts(out))
        assert 0 < there < -(-IMAGES // PART)
        subprocess.run(["mount", "-o", "remount,size=1m", str(out)], check=True)
        assert sum(1 for told in open_run(place, out, resume=True).parts(lambda *_: 1) if told)
        assert digest(out) == digest(place / "one.parquet")
        assert not [name for name in os.listdir(out) if name.endswith(".tmp")]
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_data_set_of_bytes_is_classified(cluster, place):
    import galmorph.ray

    model, options = str(place / "m.safetensors"), {"head": "test", "precision": "float32"}
    files = ray.data.read_binary_files(str(place / "images"), include_paths=True)
    found = galmorph.ray.classify(files, model=model, device="cpu", **options).to_pandas()
    assert len(found) == IMAGES and set(found["object_id"]) == {f"g{n:02}" for n in range(IMAGES)}
    assert found.loc[found["label"] == "", "object_id"].tolist() == ["g21"]


def test_an_actor_leaves_cores_for_what_reads(place):
    """On a machine of two, where one actor could have both."""
    code = (
        "import sys, ray, galmorph.ray\n"
        "ray.init('local', num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
        "files = ray.data.read_binary_files(sys.argv[1], include_paths=True)\n"
        "found = galmorph.ray.classify(files, device='cpu', model=sys.argv[2], head='test')\n"
        "print('rows:', found.count())\n"
    )
    given = [sys.executable, "-c", code, str(place / "images"), str(place / "m.safetensors")]
    env = os.environ | {"PYTHONPATH": os.fspath(Path(__file__).parents[1])}
    env.pop("RAY_ADDRESS", None)
    done = subprocess.run(given, env=env, capture_output=True, text=True, check=True, timeout=120)
    assert f"rows: {IMAGES}" in done.stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"output": ""}, "name one, as -o out/"),
        ({"output": "a.fits"}, "name one, as -o out/"),
        ({"output": "images/out"}, "which is searched"),
        ({"output": "out", "device": "cuda"}, "the nodes of the cluster have none"),
        ({"output": "out", **MOSAIC}, "on a disk that all nodes see"),
    ],
)
def test_what_does_not_go_together_is_said(cluster, place, monkeypatch, given, said):
    from galmorph.ray import open_cluster_run

    monkeypatch.chdir(place)
    options = {"images": ("images",), "model": "m.safetensors", "head": "test", "engine": "ray"}
    with pytest.raises(OptionError, match=said):
        open_cluster_run(ClassifyOptions(**options | given))


def test_a_cluster_without_a_free_core_is_waited_for_not_in_silence(
    cluster, place, tmp_path, monkeypatch
):
    taken = [ray.remote(lambda: time.sleep(4)).remote() for _ in range(2)]
    monkeypatch.setattr("galmorph.ray.QUIET_SECONDS", 0.5)
    with pytest.warns(GalmorphWarning, match=r"no actor has started in .*has 1 core\(s\) free"):
        list(open_run(place, tmp_path / "out").parts(lambda *_: 1))
    ray.get(taken)
    assert digest(tmp_path / "out") == digest(place / "one.parquet")


def test_without_an_address_no_other_cluster_is_sought(monkeypatch):
    from galmorph.ray import _connect

    init = Mock()
    monkeypatch.setattr(ray, "init", init)
    _connect(ray, None)
    assert init.call_args.kwargs["address"] == "local"


def test_a_run_that_has_connected_leaves_the_cluster(cluster, place, tmp_path):
    ray.shutdown()
    try:
        run = open_run(place, tmp_path / "out", address=cluster.address)
        assert ray.is_initialized()
        assert sum(run.parts(lambda rows, _: len(rows))) == IMAGES
        assert not ray.is_initialized()
    finally:
        ray.init(address=cluster.address, log_to_driver=False, ignore_reinit_error=True)


def test_a_node_that_dies_in_the_middle(cluster, place, tmp_path):  # the last: one is left
    mark, second = tmp_path / "begun", cluster.second.node_id

    def tell(rows, columns):
        import time

        import ray

        if ray.get_runtime_context().get_node_id() == second:
            mark.write_text("")
            time.sleep(900)
        for _ in range(3000):  # the first node makes no more before
            time.sleep(0 if mark.exists() else 0.2)
        return len(rows)

    def kill():
        while not mark.exists():
            time.sleep(0.1)
        cluster.remove_node(cluster.second, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    told = list(open_run(place, tmp_path / "out").parts(tell))
    killer.join(60)
    assert not killer.is_alive()
    assert sum(told) == IMAGES
    assert digest(tmp_path / "out") == digest(place / "one.parquet")


def test_a_cluster_without_cores_grows(place, tmp_path):
    alone = ["unshare", "--map-root-user", "-pfnm", "--mount-proc", "--kill-child", "bash", "-ec"]
    try:
        subprocess.run([*alone, "ip link set lo up"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a cluster of its own needs namespaces of Linux, and ip")
    (tmp_path / "growing.yaml").write_text(json.dumps(growing_cluster.CLUSTER))
    words = ["classify", str(place / "images"), "-o", "out", "--engine", "ray"]
    words += ["--address", "auto", "--model", str(place / "m.safetensors"), *OPTIONS]
    root = Path(__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.fspath(root)}
    done = subprocess.run(
        [*alone, growing_cluster.RUN, sys.executable, str(PART), *words],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert "cores: 2.0" in done.stdout, done.stderr
    assert digest(tmp_path / "out") == digest(place / "one.parquet")


def test_an_address_needs_the_engine():
    with pytest.raises(OptionError, match="--address is for --engine ray"):
        ClassifyOptions(images=("a",), address="auto")
