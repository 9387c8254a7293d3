"""Damaged files of every kind: words of galmorph's own, the file, and the way out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_flux, make_rgb, write_fits

from galmorph.errors import ImageError
from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout

STACK = np.stack([make_rgb(32, seed=n) for n in range(3)])
FOREIGN = re.compile(
    r"errno|traceback|exception|b'|b\"|object at|zipinfo|crc-?32|thrift|magic|superblock|eof\b|"
    r"synchronously|b-tree|zlib|error -?\d|mmap|buffer|header data|token|stream data|utf-8|codec|"
    r"cannot identify|dtype|ndarray|h5py|pyarrow|pillow|numpy\.core",
    re.IGNORECASE,
)
"""Words of libraries, and of Python."""

WAY_OUT = re.compile(r"; |, or |cut short|damaged")


def write_image(path: Path) -> None:
    stream = io.BytesIO()
    kind = {"jpg": "JPEG", "tif": "TIFF"}.get(path.suffix[1:], path.suffix[1:].upper())
    Image.fromarray(STACK[0]).save(stream, kind)
    path.write_bytes(stream.getvalue())


def write_packed_fits(path: Path) -> None:
    write_fits(path.with_suffix(""), make_flux(), BANDS="grz")
    data = path.with_suffix("").read_bytes()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[path.suffix]
    path.write_bytes(pack(data))
    path.with_suffix("").unlink()


def write_hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=STACK, compression="gzip", chunks=(1, 32, 32, 3))


def write_parquet(path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    Image.fromarray(STACK[0]).save(stream, "PNG")
    pq.write_table(pa.table({"image": [stream.getvalue()] * 3}), path, compression="zstd")


def write_asdf(path: Path) -> None:
    asdf = pytest.importorskip("asdf")
    asdf.AsdfFile({"image": STACK[0, :, :, 0].astype("f4")}).write_to(path)


def write_archive(path: Path) -> None:
    write_image(path.with_name("a.png"))
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path.with_name("a.png"), "a.png")
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
            tar.add(path.with_name("a.png"), "a.png")


WRITERS = {
    **dict.fromkeys(("s.jpg", "s.png", "s.tif", "s.webp"), write_image),
    **dict.fromkeys(("s.fits.gz", "s.fits.bz2", "s.fits.xz"), write_packed_fits),
    **dict.fromkeys(("s.zip", "s.tar", "s.tgz"), write_archive),
    "s.fits": lambda path: write_fits(path, make_flux(), BANDS="grz"),
    "s.npy": lambda path: np.save(path, STACK),
    "s.npz": lambda path: np.savez_compressed(path, images=STACK),
    "s.h5": write_hdf5,
    "s.parquet": write_parquet,
    "s.asdf": write_asdf,
}


def cut(data: bytearray) -> bytearray:
    return data[: len(data) // 4]


def scramble(data: bytearray) -> bytearray:
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(range(64))
    return data


def scramble_start(data: bytearray) -> bytearray:
    data[10:200] = bytes(range(190))
    return data


def scramble_end(data: bytearray) -> bytearray:
    data[-60:-8] = bytes(range(52))
    return data


@pytest.mark.parametrize("damage", [cut, scramble, scramble_start, scramble_end])
@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_is_called_so_in_our_own_words(tmp_path: Path, name: str, damage) -> None:
    WRITERS[name](tmp_path / name)
    (tmp_path / name).write_bytes(damage(bytearray((tmp_path / name).read_bytes())))
    said = []
    for source in discover_sources(tmp_path / name):
        try:
            read_cutout(source)
        except ImageError as error:
            said.append(str(error))
    assert said or damage is not cut
    for message in said:
        assert name in message and WAY_OUT.search(message)
        assert not FOREIGN.search(message.replace(str(tmp_path), "")), message


def test_a_damaged_zarr_is_called_so(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for name in ("meta", "chunk"):
        path = tmp_path / f"{name}.zarr"
        array = zarr.open(path, mode="w", shape=STACK.shape, dtype="u1", chunks=(1, 32, 32, 3))
        array[:] = STACK
        for file in path.rglob("*"):
            inside = file.name in ("zarr.json", ".zarray") if name == "meta" else file.name == "0"
            if file.is_file() and (inside or (name == "chunk" and file.name.startswith("0."))):
                file.write_bytes(b"{no")
        found = list(discover_sources(path))
        with pytest.raises(ImageError, match=rf"{name}\.zarr.*damaged or cut short") as caught:
            read_cutout(found[0])
        assert not FOREIGN.search(str(caught.value).replace(str(tmp_path), ""))
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["encrypted", "method"])
def test_an_npz_that_is_packed_strangely_is_not_called_damaged(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "s.npz", images=STACK)
    data = bytearray((tmp_path / "s.npz").read_bytes())
    entry = data.find(b"PK\1\2")
    if kind == "encrypted":
        data[6], data[entry + 8] = 1, 1
    else:
        data[8], data[entry + 10] = 97, 97
    (tmp_path / "s.npz").write_bytes(data)
    (source,) = discover_sources(tmp_path / "s.npz")
    with pytest.raises(ImageError, match=r"s\.npz: packed or encrypted .* numpy\.savez"):
        read_cutout(source)


def test_an_npy_that_is_cut_says_by_how_much(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", STACK)
    (tmp_path / "s.npy").write_bytes((tmp_path / "s.npy").read_bytes()[:-100])
    (source,) = discover_sources(tmp_path / "s.npy")
    with pytest.raises(ImageError, match=r"s\.npy: the array is cut short by 100 bytes"):
        read_cutout(source)


def test_an_asdf_that_ends_in_its_tree_is_cut_short(tmp_path: Path) -> None:
    pytest.importorskip("asdf")
    (tmp_path / "s.asdf").write_bytes(b"#ASDF 1.0.0\n%YAML 1.1\n--- !core/asdf-1.1.0\nroman: {da")
    (source,) = discover_sources(tmp_path / "s.asdf")
    with pytest.raises(ImageError, match=r"s\.asdf: the ASDF file is cut short; copy"):
        read_cutout(source)
