"""What damaged and hostile containers may cost: a flag and a sentence."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import time
from pathlib import Path

import numpy as np
import pytest
from bombs import BOMBS
from mutants import make_containers, mutate

from galmorph.errors import AmbiguousShapeError, BandError, ImageError, UnsupportedImageError
from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout
from galmorph.settings import ReadOptions

for name in ("h5py", "pyarrow", "tifffile"):
    pytest.importorskip(name)

SECONDS = 5.0
CONTAINERS = make_containers()


@pytest.mark.parametrize("end", BOMBS)
def test_no_bomb_goes_off(tmp_path: Path, end: str) -> None:
    BOMBS[end](tmp_path / f"bomb.{end}")
    start = time.process_time()
    for source in itertools.islice(discover_sources(tmp_path / f"bomb.{end}"), 30):
        with pytest.raises(ImageError, match=rf"bomb\.{re.escape(end)}"):
            read_cutout(source)
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize("kind", CONTAINERS)
def test_mutants_of_a_container_are_rows_or_errors_of_our_own(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    good = 0
    for number in range(60):
        path = tmp_path / f"mutant_{number}.{kind}"  # HDF5 does not open a file twice
        path.write_bytes(mutate(CONTAINERS[kind], rng))
        start = time.process_time()
        for source in itertools.islice(discover_sources(path), 50):
            with contextlib.suppress(ImageError, BandError, AmbiguousShapeError):
                good += read_cutout(source).array.size > 0
        assert time.process_time() - start < SECONDS
    assert good or kind.endswith("npz")  # of which nearly every bit is of the one array


def test_one_bit_in_a_stack_is_the_flag_of_its_rows(tmp_path: Path) -> None:
    data = bytearray(CONTAINERS["npz"])
    data[1000] ^= 1
    (tmp_path / "s.npz").write_bytes(data)
    found = list(discover_sources(f"{tmp_path}/s.npz::images"))
    assert [source.object_id for source in found] == ["a", "b", "c", "d"]
    for source in found:
        with pytest.raises(ImageError, match=r"s\.npz::images\[.\]: the stack is damaged"):
            read_cutout(source)


def test_a_damaged_page_takes_no_other_row_group_with_it(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from mutants import make_seeds

    path, jpeg = tmp_path / "s.parquet", make_seeds()["jpeg"]
    options = {"row_group_size": 2, "use_dictionary": False, "compression": "zstd"}
    pq.write_table(pa.table({"image": [jpeg] * 6}), path, **options)
    place = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[place : place + 30] = b"\xff" * 30
    path.write_bytes(data)
    found = list(discover_sources(path))
    assert [source.address[-3:] for source in found] == [f"[{n}]" for n in range(6)]
    for n in (0, 1, 4, 5):
        read_cutout(found[n])
    for n in (2, 3):
        with pytest.raises(ImageError, match="the Parquet file is damaged"):
            read_cutout(found[n])


def test_text_in_parquet_that_is_no_utf8_is_kept_with_escapes(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from mutants import make_seeds

    buffers = (pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    columns = {"note": pa.StringArray.from_buffers(2, *buffers), "id": ["1", "2"]}
    images = [make_seeds()["jpeg"]] * 2
    pq.write_table(pa.table({**columns, "image": images}), tmp_path / "s.parquet")
    found = list(discover_sources(tmp_path / "s.parquet"))
    assert [source.columns["note"] for source in found] == ["a", r"\xff"]
    for source in found:
        read_cutout(source)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    import h5py

    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["images"] = np.zeros((5, 9, 9), dtype=np.uint8)
    (tmp_path / "raw").write_bytes(bytes(405))
    return tmp_path / "outside.h5"


@pytest.mark.parametrize("name", ["", "::images", "::soft"])
@pytest.mark.parametrize("kind", ["link", "virtual", "external"])
def test_hdf5_names_no_other_file(tmp_path: Path, outside: Path, kind: str, name: str) -> None:
    import h5py

    with h5py.File(tmp_path / "s.h5", "w") as file:
        if kind == "link":
            file["images"] = h5py.ExternalLink(str(outside), "images")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((5, 9, 9), np.uint8)
            layout[:] = h5py.VirtualSource(str(outside), "images", (5, 9, 9))
            file.create_virtual_dataset("images", layout)
        else:
            places = [(str(tmp_path / "raw"), 0, 405)]
            file.create_dataset("images", (5, 9, 9), np.uint8, external=places)
        file["soft"] = h5py.SoftLink("/images")
    (source,) = discover_sources(f"{tmp_path}/s.h5{name}")
    said = "link to another file" if kind == "link" else "values lie in other files"
    with pytest.raises(UnsupportedImageError, match=f"(images|soft) is .*{said}"):
        read_cutout(source)


@pytest.mark.parametrize("end", ["tar", "tar.gz", "npy", "npz", "h5", "parquet", "zip"])
def test_a_fifo_under_the_name_of_a_container_is_not_waited_for(tmp_path: Path, end: str) -> None:
    os.mkfifo(tmp_path / f"pipe.{end}")
    (source,) = discover_sources(tmp_path / f"pipe.{end}")
    with pytest.raises(UnsupportedImageError, match="not a regular file"):
        read_cutout(source)


def test_messages_show_no_bytes_of_a_file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_bytes(b"$6$secret")
    for source in discover_sources([tmp_path / "shadow"]):
        with pytest.raises(ImageError) as caught:
            read_cutout(source, options=ReadOptions())
        assert "secret" not in str(caught.value)
