"""The commands of how-to pages, against services on the loopback interface."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from astropy.table import Table
from bucket import SECRET, forget_connections, serve_bucket
from click.testing import CliRunner
from PIL import Image
from survey_server import serve_surveys
from synthetic import make_rgb

from galmorph.cli.main import cli

PAGES = Path(__file__).parents[1] / "docs/howto"


def run_page(name: str, begin: str = "") -> None:
    """All commands of its blocks for a shell, in order; of those that begin so."""
    page = (PAGES / name).read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    commands = [
        line for block in blocks for line in block.splitlines() if line and block.startswith(begin)
    ]
    assert commands
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "galmorph"
        result = CliRunner().invoke(cli, words, prog_name="galmorph")
        assert result.exit_code == 0, (command, result.output)


def test_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("sample.csv").write_text("name,ra,dec\na,10.1,2\nb,10.2,2\nc,10.3,-70\n")
    with serve_surveys() as server:
        monkeypatch.setenv("GALMORPH_SURVEY_URL", server.url)
        run_page("positions.md")
    table = Table.read("classes.fits")
    assert list(table["name"]) == ["a", "b", "c"]
    assert [bool(label) for label in table["label"]] == [True, True, False]
    assert list(Table.read("kept.fits")["label"]) == list(table["label"])
    assert Path("classes.html").read_text().count("data:image/jpeg") >= 2


def test_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, value in {"ACCESS_KEY_ID": "me", "SECRET_ACCESS_KEY": SECRET}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    Path("sample.csv").write_text("name,ra,dec\na,50.1,2\nb,50.2,2\nc,50.3,-70\n")
    with serve_bucket() as bucket, serve_surveys() as surveys:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        monkeypatch.setenv("GALMORPH_SURVEY_URL", surveys.url)
        forget_connections()
        for k in range(3):
            Image.fromarray(make_rgb(424, seed=k)).save(f"g{k}.jpg")
            s3fs.S3FileSystem().put(f"g{k}.jpg", f"galaxies/cutouts/g{k}.jpg")
        s3fs.S3FileSystem().put("sample.csv", "galaxies/sample.csv")
        run_page("buckets.md")
        s3fs.S3FileSystem().get("galaxies/out/", "got/", recursive=True)
    table = parquet.read_table("got/classes.parquet")
    assert table["object_id"].to_pylist() == ["g0", "g1", "g2"]
    assert all(table["label"].to_pylist())
    sky = parquet.read_table("got/sky.parquet")
    assert sky["name"].to_pylist() == ["a", "b", "c"]
    assert [bool(label) for label in sky["label"].to_pylist()] == [True, True, False]
    for page, count in {"classes": 3, "sky": 2}.items():
        assert Path(f"got/{page}.html").read_text().count("data:image/jpeg") >= count
    assert not any(SECRET.encode() in path.read_bytes() for path in Path("got").iterdir())
