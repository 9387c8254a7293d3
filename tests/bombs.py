"""Small files that unpack to gigabytes, one a container. Shared with benchmarks/."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

BLOCK = 1 << 24
GIB = 1 << 30


def deflate_zeros(size: int, head: bytes = b"", bits: int = -15) -> bytes:
    """A deflate stream of a head and zeros (checksum left out), made in no time."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * -(-size // BLOCK) + b"\3\0"


def gzip_zeros(size: int, head: bytes = b"") -> bytes:
    """The same as a gzip file."""
    return deflate_zeros(size, head, 31)


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Header of one member."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def _write_tiff(path: Path) -> None:
    import tifffile

    tifffile.imwrite(path, np.ones((64, 64)), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        places = [tags[n].offset + 8 for n in (273, 279)]  # value of StripOffsets, StripByteCounts
    data = bytearray(path.read_bytes())
    bomb = deflate_zeros(4 * GIB, bits=15)
    for place, value in zip(places, (len(data), len(bomb)), strict=True):
        struct.pack_into("<I", data, place, value)
    path.write_bytes(data + bomb)


def _write_tiles(path: Path) -> None:
    from astropy.io import fits

    tiles = fits.CompImageHDU(
        np.ones((64, 64), "i2"), compression_type="GZIP_1", tile_shape=(64, 64)
    )
    tiles.writeto(path)
    data, bomb = bytearray(path.read_bytes()), gzip_zeros(4 * GIB)
    place = data.rindex(b"PCOUNT  =")
    data[place : place + 80] = f"PCOUNT  = {len(bomb):20d}".ljust(80).encode()
    with fits.open(path, disable_image_compression=True) as hdus:
        start, shape = hdus[1].fileinfo()["datLoc"], hdus[1].columns["COMPRESSED_DATA"].format
        assert shape.startswith("1P") and hdus[1].header["NAXIS2"] == 1
    path.write_bytes(bytes(data[:start]) + struct.pack(">ii", len(bomb), 0) + bomb + bytes(2880))


def _write_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        made = file.create_dataset("images", (4, 64, 64), "u1", chunks=(1, 64, 64), compression=9)
        made.id.write_direct_chunk((0, 0, 0), deflate_zeros(4 * GIB, bits=15))


def _write_large_chunk(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        shape = (1 << 20, 64, 64)
        made = file.create_dataset("images", shape, "u1", chunks=(1 << 19, 64, 64), compression=9)
        made.id.write_direct_chunk((0, 0, 0), deflate_zeros(2 * GIB, bits=15))


def _write_npz(path: Path) -> None:
    head = io.BytesIO()
    shape = (4 * GIB // 4096, 64, 64)
    np.lib.format.write_array_header_1_0(
        head, {"shape": shape, "fortran_order": False, "descr": "|u1"}
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", deflate_zeros(4 * GIB, head.getvalue()))
        info = archive.infolist()[0]
        info.compress_type = zipfile.ZIP_DEFLATED
        info.file_size = len(head.getvalue()) + 4 * GIB
    # the directory alone is rewritten when the archive closes; the local header says the same
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 8, zipfile.ZIP_DEFLATED)
    path.write_bytes(data)


def _write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(300 << 20), compresslevel=1)


def _write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = pa.array([bytes(240 << 20)], pa.binary())
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 2, pa.int32()), one)
    pq.write_table(pa.table({"image": rows}), path, compression="zstd")


def _write_plain_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array([bytes(100 << 20)] * 3, pa.binary())
    pq.write_table(pa.table({"image": image}), path, compression="zstd", use_dictionary=False)


def _write_long_name(path: Path) -> None:
    """A sparse file: the name takes no room on the disk."""
    with path.open("wb") as file:
        file.write(tar_header("x", 4 * GIB, tarfile.GNUTYPE_LONGNAME))
        file.truncate(4 * GIB + 10_240)


def _write(data: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data())

    return write


def _write_sparse_fits(path: Path) -> None:
    """A header without end; what is not written takes no room on the disk."""
    path.write_bytes(FITS_HEAD)
    with path.open("rb+") as file:
        file.truncate(4 * GIB)


VOTABLE = (
    '<VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>{}<DATA><TABLEDATA>'
)


def _write_wide_votable(path: Path) -> None:
    """Rows of five letters each, with ten thousand columns."""
    fields = "".join(f'<FIELD name="c{n}" datatype="double"/>' for n in range(10_000))
    end = "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    path.write_text(VOTABLE.format(fields) + "<TR/>" * 1_000_000 + end)


def write_texts(rows: int, size: int, *, dictionary: bool) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        one = pa.array(["x" * size])
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), one)
        column = texts if dictionary else texts.cast(pa.string())
        table = pa.table({"file": column, "id": list(range(rows))})
        pq.write_table(table, path, compression="zstd", use_dictionary=dictionary)

    return write


FITS_HEAD = b"SIMPLE  =                    T".ljust(80)
ECSV = b"""# %ECSV 1.0
# ---
# datatype:
# - {name: file, datatype: string}
# - {name: id, datatype: string, subtype: 'float64[1000000000]'}
file id
a ""
"""
BOMBS: dict[str, Callable[[Path], None]] = {
    "fits.gz": _write(lambda: gzip_zeros(4 * GIB, FITS_HEAD)),
    "empty_members.fits.gz": _write(lambda: gzip.compress(b"") * 500_000),
    "empty_members.tar.gz": _write(lambda: gzip.compress(b"") * 500_000),
    "fits.fz": _write_tiles,
    "tif": _write_tiff,
    "member.tar.gz": _write(
        lambda: b"".join(gzip_zeros(BLOCK * 12, tar_header("a.jpg", BLOCK * 12)) for _ in range(20))
    ),
    "skipped.tar.gz": _write(lambda: gzip_zeros(20 * GIB, tar_header("a.txt", 20 * GIB))),
    "long_name.tar.gz": _write(
        lambda: gzip_zeros(4 * GIB, tar_header("x", 4 * GIB, tarfile.GNUTYPE_LONGNAME))
    ),
    "attributes.tar.gz": _write(
        lambda: gzip_zeros(4 * GIB, tar_header("x", 4 * GIB, tarfile.XHDTYPE))
    ),
    "long_name.tar": _write_long_name,
    "zip": _write_zip,
    "npz": _write_npz,
    "h5": _write_hdf5,
    "large_chunk.h5": _write_large_chunk,
    "parquet": _write_parquet,
    "plain.parquet": _write_plain_parquet,
}
"""By the end of the file's name: what writes it."""

TABLES: dict[str, Callable[[Path], None]] = {
    "catalogue.csv.gz": _write(lambda: gzip_zeros(6 * GIB, b"file,id\n")),
    "catalogue.csv": _write(lambda: b",".join(b"c%d" % n for n in range(200_000)) + b"\n"),
    "catalogue.ecsv": _write(lambda: ECSV),
    "catalogue.fits.gz": _write(lambda: gzip_zeros(4 * GIB, FITS_HEAD)),
    "catalogue.fits": _write_sparse_fits,
    "catalogue.vot": _write_wide_votable,
    "catalogue.plain.parquet": write_texts(8, 50 << 20, dictionary=False),
    "catalogue.words.parquet": write_texts(50_000, 50 << 20, dictionary=True),
}
"""The same for catalogues."""
