"""A bucket of Google, of which an emulator on the loopback interface speaks the language."""

from __future__ import annotations

import pytest
from bucket import forget_connections
from click.testing import CliRunner
from test_parts import make_place

from galmorph.cli.main import cli

pq = pytest.importorskip("pyarrow.parquet", reason="the table is Parquet")
fsspec = pytest.importorskip("fsspec", reason="URLs need the extra remote")
pytest.importorskip("gcsfs", reason="gs:// needs gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server", reason="a server of gs://")

pytestmark = pytest.mark.filterwarnings("default")  # of the libraries of Google


def test_images_and_tables_in_a_bucket_of_google(tmp_path, monkeypatch):
    place = make_place(tmp_path)
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="galaxies")
    server.start()
    try:
        at = f"http://127.0.0.1:{server._api._httpd.server_port}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", at)
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # the emulator has none
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        forget_connections()
        system = fsspec.filesystem("gs")
        for path in sorted((place / "images").iterdir())[:5]:
            system.pipe_file(f"galaxies/in/{path.name}", path.read_bytes())
        words = ["--model", str(place / "m.safetensors"), "--head", "test", "--device", "cpu"]
        for given in ("gs://galaxies/in/", "gs://galaxies/in/*.png"):
            output = ["-o", "gs://galaxies/out/a.parquet", "--overwrite"]
            done = CliRunner().invoke(cli, ["classify", given, *output, *words])
            assert done.exit_code == 0, done.output
            system.invalidate_cache()
            rows = pq.read_table("galaxies/out/a.parquet", filesystem=system).to_pylist()
            assert [row["path"] for row in rows] == [
                f"gs://galaxies/in/g0{n}.png" for n in range(5)
            ]
            assert all(row["label"] for row in rows)
    finally:
        server.stop()
