"""Many cutouts in one file: tar, npy, npz, HDF5, Parquet."""

from __future__ import annotations

import errno
import gzip
import io
import pickle
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic import make_flux, make_rgb

from galmorph.errors import (
    AmbiguousShapeError,
    BandError,
    GalmorphWarning,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    UnreadableImageError,
    UnsupportedImageError,
)
from galmorph.images import stacks
from galmorph.images.archives import Member
from galmorph.images.containers import list_container
from galmorph.images.discover import discover_sources
from galmorph.images.read import read_cutout
from galmorph.images.source import Lost
from galmorph.images.stacks import stacks_in_use
from galmorph.settings import ReadOptions

IMAGES = [make_rgb(48, seed=n) for n in range(6)]
STACK = np.stack(IMAGES)


def to_png(array: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for n, image in enumerate(IMAGES):
            for name, data in ((f"spiral/{n}.png", to_png(image)), (f"spiral/{n}.json", b"{}")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for n, image in enumerate(IMAGES):
            packing = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)[n % 3]
            archive.writestr(f"spiral/{n}.png", to_png(image), packing)
            archive.writestr(f"spiral/{n}.json", "{}")
    return path


def check_all(path: Path | str, ids: list[str]) -> None:
    sources = list(discover_sources(path))
    assert [source.object_id for source in sources] == ids
    for source, image in zip(sources, IMAGES, strict=True):
        cutout = read_cutout(source)
        np.testing.assert_array_equal(cutout.array, image.transpose(2, 0, 1))
        assert cutout.path == source.address


def test_tar_shard(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar")
    check_all(path, ["0", "1", "2", "3", "4", "5"])
    first = next(discover_sources(path))
    assert first.address == f"{path}::spiral/0.png"
    assert isinstance(first, Member)  # no pixels travel with the source
    assert pickle.loads(pickle.dumps(first)) == first


def test_tar_shard_inside_a_folder(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar")
    assert len(list(discover_sources(tmp_path))) == 6


@pytest.mark.parametrize(
    ("suffix", "mode"), [("tar.gz", "w:gz"), ("tgz", "w:gz"), ("tar.bz2", "w:bz2")]
)
def test_compressed_tar(tmp_path: Path, suffix: str, mode: str) -> None:
    check_all(write_tar(tmp_path / f"s.{suffix}", mode), ["0", "1", "2", "3", "4", "5"])


def test_tar_in_many_threads(tmp_path: Path) -> None:
    sources = list(discover_sources(write_tar(tmp_path / "s.tar"))) * 20
    with ThreadPoolExecutor(8) as pool:
        cutouts = list(pool.map(read_cutout, sources))
    for n, cutout in enumerate(cutouts):
        np.testing.assert_array_equal(cutout.array, IMAGES[n % 6].transpose(2, 0, 1))


def test_tar_headers_are_not_kept(tmp_path: Path) -> None:
    sources = discover_sources(write_tar(tmp_path / "s.tar"))
    next(sources)
    frame = sources.gi_frame  # type: ignore[attr-defined]
    assert frame is not None
    assert len(list(sources)) == 5


def test_truncated_tar_keeps_what_came_before(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar")
    with tarfile.open(path) as tar:
        offset = tar.getmember("spiral/3.png").offset_data
    path.write_bytes(path.read_bytes()[: offset + 100])
    sources = list(discover_sources(path))
    assert [source.object_id for source in sources[:3]] == ["0", "1", "2"]
    for source in sources[:3]:
        read_cutout(source)
    assert len(sources) > 3
    for source in sources[3:]:
        with pytest.raises(UnreadableImageError, match=r"s\.tar"):
            read_cutout(source)


def test_compressed_tar_with_a_giant_member(tmp_path: Path) -> None:
    info = tarfile.TarInfo("bomb.jpg")
    info.size = 1 << 40
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1024)))
    (source,) = discover_sources(tmp_path / "s.tar.gz")
    with pytest.raises(
        UnreadableImageError, match=r"bomb\.jpg is said to have 1099511627776 bytes"
    ):
        read_cutout(source)


def test_zip_archive(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "s.zip")
    check_all(path, ["0", "1", "2", "3", "4", "5"])
    first = next(discover_sources(path))
    assert first.read_head(8) == to_png(IMAGES[0])[:8]
    (source,) = discover_sources(f"{path}::spiral/7.png")
    with pytest.raises(UnreadableImageError, match="there is no such member"):
        read_cutout(source)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match="damaged in this member"):
        read_cutout(first)


def test_tar_under_another_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar").rename(tmp_path / "s.dat")
    with pytest.raises(UnsupportedImageError, match="this is a tar file"):
        read_cutout(path)


def test_giant_item_of_a_stack(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", STACK)
    source = next(discover_sources(tmp_path / "s.npy"))
    with pytest.raises(ImageTooLargeError, match="more than max_pixels"):
        read_cutout(source, options=ReadOptions(max_pixels=1000))


def test_not_a_tar(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"nothing of the kind" * 100)
    (source,) = discover_sources(tmp_path / "s.tar")
    with pytest.raises(UnreadableImageError, match=r"s\.tar: .*not a tar file"):
        read_cutout(source)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_not_followed(tmp_path: Path, kind: bytes, suffix: str) -> None:
    with tarfile.open(tmp_path / f"s.{suffix}", "w:gz" if suffix == "tar.gz" else "w") as tar:
        for name in ("b/a.jpg", "b/c.txt"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
    (source,) = discover_sources(tmp_path / f"s.{suffix}")
    assert source.object_id == "a"
    with pytest.raises(UnsupportedImageError, match=r"s\.tar.*b/a.jpg: a link to /etc/passwd"):
        read_cutout(source)


def test_hidden_members_of_a_tar_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("b/._a.png", "b/a.png"):
            data = to_png(IMAGES[0])
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert [source.object_id for source in discover_sources(tmp_path / "s.tar")] == ["a"]


def test_npy_stack(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", STACK)
    check_all(tmp_path / "s.npy", [f"s_{n}" for n in range(6)])


def test_npy_of_one_image(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", IMAGES[0])
    (source,) = discover_sources(tmp_path / "one.npy")
    np.testing.assert_array_equal(read_cutout(source).array, IMAGES[0].transpose(2, 0, 1))


def test_npy_with_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    (source,) = discover_sources(tmp_path / "s.npy")
    with pytest.raises(UnreadableImageError, match="it holds Python objects"):
        read_cutout(source)


def test_npz_stack_with_identifiers(tmp_path: Path) -> None:
    names = [f"gal{n}" for n in range(6)]
    np.savez(tmp_path / "s.npz", images=STACK, object_id=np.array(names))
    check_all(tmp_path / "s.npz", names)


def test_npz_identifiers_that_cannot_be_read_are_said_aloud(tmp_path: Path) -> None:
    names = np.array([f"gal{n}" for n in range(6)], dtype=object)
    np.savez(tmp_path / "s.npz", images=STACK, object_id=names)
    with pytest.warns(GalmorphWarning, match=r"identifiers 'object_id'.*\.astype\(str\)"):
        check_all(tmp_path / "s.npz", [f"s_{n}" for n in range(6)])


def test_npz_with_several_arrays_must_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=STACK, weights=STACK)
    check_all(str(tmp_path / "s.npz") + "::images", [f"s_{n}" for n in range(6)])
    (source,) = discover_sources(tmp_path / "s.npz")
    with pytest.raises(UnsupportedImageError, match=r"s\.npz::NAME; it holds images, weights"):
        read_cutout(source)


def test_npz_that_the_temporary_folder_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    np.savez(tmp_path / "s.npz", images=STACK)
    monkeypatch.setattr("galmorph.images.numpy_files.copyfileobj", fill)
    for source in discover_sources(tmp_path / "s.npz"):
        with pytest.raises(ImageTooLargeError, match=r"s\.npz::images.*: no room in .*TMPDIR"):
            read_cutout(source)


def test_npz_without_that_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=STACK)
    (source,) = discover_sources(str(tmp_path / "s.npz") + "::none")
    with pytest.raises(UnsupportedImageError, match=r"no array 'none'.*s\.npz::images; it holds"):
        read_cutout(source)


def test_hdf5_data_set(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["data/images"] = STACK
        file["data/object_id"] = [f"gal{n}".encode() for n in range(6)]
    check_all(str(tmp_path / "s.h5") + "::data/images", [f"gal{n}" for n in range(6)])
    check_all(tmp_path / "s.h5", [f"gal{n}" for n in range(6)])


@pytest.mark.parametrize("name", ["train", "/train/", "/"])
def test_a_group_of_hdf5_names_its_data_sets(tmp_path: Path, name: str) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["train/images"] = file["train/more/images"] = STACK
        file["train/labels"] = np.arange(6)
    (source,) = discover_sources(f"{tmp_path}/s.h5::{name}")
    group = (
        r".* is a group.* as in s\.h5::train/images" if "train" in name else ".*name the array.*"
    )
    said = rf"s\.h5::{group}; it holds train/images, train/more/images$"
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(source)


def test_hdf5_without_values_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["empty"] = h5py.Empty("f4")
        file["kind"] = np.dtype("f4")
        file.create_group("group")
    for name in ("empty", "kind", "group"):
        (source,) = discover_sources(f"{tmp_path}/s.h5::{name}")
        with pytest.raises(UnsupportedImageError, match="it holds nothing with image axes"):
            read_cutout(source)


def test_hdf5_of_flux_with_bands(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    flux = np.stack([make_flux(seed=n) for n in range(3)])
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["flux"] = flux
    source = list(discover_sources(str(tmp_path / "s.h5") + "::flux"))[2]
    cutout = read_cutout(source, options=ReadOptions(bands=("g", "r", "z")))
    np.testing.assert_array_equal(cutout.array, flux[2])


def test_hdf5_in_many_threads(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["images"] = STACK
    sources = list(discover_sources(str(tmp_path / "s.h5") + "::images")) * 20
    with ThreadPoolExecutor(8) as pool:
        cutouts = list(pool.map(read_cutout, sources))
    for n, cutout in enumerate(cutouts):
        np.testing.assert_array_equal(cutout.array, IMAGES[n % 6].transpose(2, 0, 1))


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    sources = discover_sources(str(tmp_path / "s.h5") + "::images")
    with pytest.raises(MissingExtraError, match=r"h5py is needed to read .*s\.h5"):
        next(sources)


def test_image_files_in_hdf5_with_columns_beside(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        files = file.create_dataset("images", (6,), h5py.vlen_dtype("u1"))
        for n, image in enumerate(IMAGES):
            files[n] = np.frombuffer(to_png(image), "u1")
        file["ra"], file["dec"] = np.arange(6) + 10.0, np.arange(6.0)
        file["name"] = [f"gal{n}" for n in range(6)]
        file["other"] = np.arange(7)
    check_all(tmp_path / "s.h5", [f"gal{n}" for n in range(6)])
    found = list(discover_sources(tmp_path / "s.h5"))
    assert found[2].columns == {"ra": 12.0, "dec": 2.0, "name": "gal2"}


def test_zarr_stack_with_columns_beside(tmp_path: Path, monkeypatch) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("images", data=STACK, chunks=(2, 48, 48, 3))
    group.create_array("ra", data=np.arange(6.0))
    check_all(tmp_path / "s.zarr", [f"s_{n}" for n in range(6)])
    assert list(discover_sources(tmp_path / "s.zarr"))[3].columns == {"ra": 3.0}
    zarr.save_array(tmp_path / "t.zarr", STACK)
    check_all(tmp_path / "t.zarr", [f"t_{n}" for n in range(6)])
    large = {"shape": (900, 48, 48, 3), "chunks": (900, 48, 48, 3), "dtype": "u1"}
    zarr.open_group(tmp_path / "u.zarr", mode="w").create_array("images", **large)
    monkeypatch.setattr("galmorph.images.zarr.MAX_CHUNK_BYTES", 900 * 48 * 48 * 3 - 1)
    with pytest.raises(ImageTooLargeError, match="chunks of"):
        read_cutout(next(discover_sources(tmp_path / "u.zarr")))
    single = {"shape": (2, 900, 900), "chunks": (1, 900, 900), "dtype": "f8"}
    zarr.open_group(tmp_path / "v.zarr", mode="w").create_array("images", **single)
    with pytest.raises(ImageTooLargeError, match="more than max_pixels"):
        read_cutout(
            next(discover_sources(tmp_path / "v.zarr")), options=ReadOptions(max_pixels=1000)
        )


def test_the_layout_of_cutana(tmp_path: Path, monkeypatch) -> None:
    zarr, pa = pytest.importorskip("zarr"), pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    for number in range(2):
        batch = tmp_path / f"batch_cutout_process_{number:03}_x"
        group = zarr.open_group(batch / "images.zarr", mode="w")
        group.create_array("images", data=STACK, chunks=(4, 48, 48, 3))
        columns = {"source_id": [f"E{number}{k}" for k in reversed(range(6))], "ra": [1.0] * 6,
                   "dec": [2.0] * 6, "idx_in_zarr": list(reversed(range(6)))}  # fmt: skip
        pq.write_table(pa.table(columns), batch / "images_metadata.parquet")
    found = list(discover_sources(tmp_path))
    assert [s.object_id for s in found] == [f"E{n}{k}" for n in range(2) for k in range(6)]
    assert found[7].columns["source_id"] == "E11"
    assert found[7].address.endswith("_001_x/images.zarr::images[1]")
    for source in found:
        assert np.array_equal(
            read_cutout(source).array, IMAGES[int(source.object_id[-1])].transpose(2, 0, 1)
        )
    (one,) = discover_sources(found[7].address)
    assert one.object_id == "E11"
    chunk = tmp_path / "batch_cutout_process_000_x/images.zarr/images/c/1/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:50])
    found = list(discover_sources(tmp_path))
    assert [hasattr(s, "error") for s in found] == [False] * 4 + [True] * 2 + [False] * 6


def test_hugging_face_data_sets_on_disk(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    rows = [{"image": {"bytes": to_png(image), "path": None}, "id": f"h{k}", "z": 0.5 * k}
            for k, image in enumerate(STACK)]  # fmt: skip
    for name, part in (("data-00000-of-00002", rows[:4]), ("data-00001-of-00002", rows[4:]),
                       ("cache-1234", rows)):  # fmt: skip
        table = pa.Table.from_pylist(part)
        with pa.ipc.new_stream(str(tmp_path / f"{name}.arrow"), table.schema) as stream:
            stream.write_table(table, max_chunksize=3)
    (tmp_path / "state.json").write_text("{}")
    check_all(tmp_path, [f"h{k}" for k in range(6)])
    assert list(discover_sources(tmp_path))[5].columns == {"id": "h5", "z": 2.5}
    second = tmp_path / "data-00001-of-00002.arrow"
    second.write_bytes(second.read_bytes()[:-400])
    found = list(discover_sources(tmp_path))
    assert [s.object_id for s in found][:4] == [f"h{k}" for k in range(4)]
    assert isinstance(found[-1], Lost)
    (tmp_path / "t.arrow").write_text("no table")
    with pytest.raises(UnreadableImageError, match="not an Arrow file"):
        read_cutout(next(discover_sources(tmp_path / "t.arrow")))


def test_a_real_data_set_on_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for k, image in enumerate(STACK):
        (tmp_path / f"g{k}.png").write_bytes(to_png(image))
    names = [str(tmp_path / f"g{k}.png") for k in range(6)]
    made = datasets.Dataset.from_dict({"image": names}).cast_column("image", datasets.Image())
    datasets.DatasetDict(train=made).save_to_disk(tmp_path / "made")
    check_all(tmp_path / "made", [f"g{k}" for k in range(6)])


def test_asdf_image_and_stack(tmp_path: Path) -> None:
    asdf = pytest.importorskip("asdf")
    flux = make_flux()[0]
    for name, packing in (("a", None), ("b", "zlib")):
        file = asdf.AsdfFile({"roman": {"data": flux, "meta": {"exposure": 3}}})
        file.write_to(tmp_path / f"{name}.asdf", all_array_compression=packing)
        (source,) = discover_sources(tmp_path / f"{name}.asdf")
        assert source.address == f"{tmp_path}/{name}.asdf::roman/data"
        np.testing.assert_array_equal(read_cutout(source).array[0], flux)
    tree = {"images": STACK, "object_id": np.array([f"gal{n}" for n in range(6)])}
    asdf.AsdfFile(tree).write_to(tmp_path / "s.asdf")
    check_all(tmp_path / "s.asdf", [f"gal{n}" for n in range(6)])


def test_what_is_named_as_no_galaxy_is_passed_over_in_stacks(tmp_path: Path) -> None:
    flux = np.float32(make_flux()[0])
    np.savez(tmp_path / "s.npz", data=flux, err=flux, dq=flux, var_poisson=flux, weight=flux)
    (source,) = discover_sources(tmp_path / "s.npz")
    assert source.address == f"{tmp_path}/s.npz::data"


@pytest.mark.parametrize("end", ["zip", "tar"])
def test_a_container_without_an_image_is_a_row(tmp_path: Path, end: str) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    if end == "zip":
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            archive.write(tmp_path / "readme.txt", "readme.txt")
    else:
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            tar.add(tmp_path / "readme.txt", "readme.txt")
    (source,) = discover_sources(tmp_path / f"s.{end}")
    with pytest.raises(UnsupportedImageError, match=rf"s\.{end}: it holds no image"):
        read_cutout(source)


def test_hdf5_with_files_of_one_length(tmp_path: Path) -> None:
    files = np.array([to_png(image) + bytes(n) for n, image in enumerate(IMAGES)])
    with pytest.importorskip("h5py").File(tmp_path / "s.h5", "w") as file:
        file["png"] = files
    check_all(tmp_path / "s.h5", [f"s_{n}" for n in range(6)])


def test_asdf_names_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("asdf")
    (tmp_path / "a.asdf").write_text(
        "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n"
        "--- !core/asdf-1.1.0\ndata: !core/ndarray-1.0.0\n  source: other.asdf\n"
        "  datatype: float32\n  byteorder: little\n  shape: [9, 9]\n...\n"
    )
    (source,) = discover_sources(tmp_path / "a.asdf")
    with pytest.raises(UnsupportedImageError, match=r"data lies in another file, other\.asdf"):
        read_cutout(source)


def test_grey_stack_of_ambiguous_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", STACK[..., 0])
    sources = list(discover_sources(tmp_path / "s.npy"))
    assert len(sources) == 6
    np.testing.assert_array_equal(read_cutout(sources[1]).array[0], IMAGES[1][..., 0])
    np.save(tmp_path / "t.npy", np.zeros((2, 5, 48, 48), dtype=np.float32))
    with pytest.raises(AmbiguousShapeError, match="the band axis cannot be told"):
        read_cutout(next(discover_sources(tmp_path / "t.npy")))


def write_parquet(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": to_png(image), "path": f"{n}.png"} for n, image in enumerate(IMAGES)]
    table = pa.table(
        {
            "image": images,
            "id_str": [f"gal{n}" for n in range(6)],
            "redshift": [0.1 * n for n in range(6)],
        }
    )
    pq.write_table(table, path, row_group_size=2)
    return path


def test_parquet_image_column(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "s.parquet")
    check_all(path, [f"gal{n}" for n in range(6)])
    second = list(discover_sources(path))[1]
    assert second.columns == {"id_str": "gal1", "redshift": 0.1}
    assert second.address == f"{path}::image[1]"


def test_parquet_rows_that_name_a_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "b.png").write_bytes(to_png(IMAGES[1]))
    names = ["images/b.png", "images/none.png", None]
    images = [{"bytes": None, "path": name} for name in names]
    table = pa.table({"image": images, "ra": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "s.parquet")
    there, absent, empty = discover_sources(tmp_path / "s.parquet")
    cutout = read_cutout(there)
    np.testing.assert_array_equal(cutout.array.transpose(1, 2, 0), IMAGES[1])
    assert (there.object_id, cutout.path) == ("b", str(tmp_path / "images" / "b.png"))
    assert there.columns == {"ra": 1.0}
    with pytest.raises(ImageError, match=r"image\[1\]: .* a file that is not there: images/none"):
        read_cutout(absent)
    with pytest.raises(ImageError, match=r"image\[2\]: the row is empty"):
        read_cutout(empty)


def test_parquet_without_images(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "s.parquet")
    (source,) = discover_sources(tmp_path / "s.parquet")
    with pytest.raises(ImageError, match="no column of images"):
        read_cutout(source)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pyarrow is needed"):
        next(discover_sources(tmp_path / "s.parquet"))


def test_member_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (source,) = discover_sources(str(tmp_path / "a.jpg") + "::b")
    said = r"names a member of \.tar, \.npz, \.h5 or \.parquet"
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(source)
    np.save(tmp_path / "s.npy", np.zeros((5, 9, 9)))
    (source,) = discover_sources(str(tmp_path / "s.npy") + "::b")
    with pytest.raises(UnsupportedImageError, match="holds one array, which has no name"):
        read_cutout(source)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "npy", "npz", "h5", "zarr", "parquet"])
def test_the_address_of_an_item_gives_that_item_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"s.{kind}"
    if kind.startswith("tar"):
        write_tar(path, "w:gz" if kind.endswith("gz") else "w")
    elif kind == "parquet":
        write_parquet(path)
    elif kind == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["data/images"] = STACK
    elif kind == "zarr":
        group = pytest.importorskip("zarr").open_group(path, mode="w")
        group.create_array("data/images", data=STACK)
    elif kind == "zip":
        write_zip(path)
    else:
        np.savez(path, images=STACK) if kind == "npz" else np.save(path, STACK)
    listed = list(discover_sources(path))
    for number in (0, 4):
        (source,) = discover_sources(listed[number].address)
        assert source.object_id == listed[number].object_id
        array = read_cutout(source).array
        np.testing.assert_array_equal(array, IMAGES[number].transpose(2, 0, 1))


@pytest.mark.parametrize(("end", "said"), [("::9.png", "no such member"), ("[6]", "not so many")])
def test_an_address_of_nothing_is_a_row_that_says_so(tmp_path: Path, end: str, said: str) -> None:
    np.save(tmp_path / "s.npy", STACK)
    path = write_tar(tmp_path / "s.tar") if end.startswith("::") else tmp_path / "s.npy"
    (source,) = discover_sources(f"{path}{end}")
    with pytest.raises(UnreadableImageError, match=said):
        read_cutout(source)


@pytest.mark.realdata
def test_a_real_shard(realdata: Path) -> None:
    sources = discover_sources(realdata / "sdss" / "train-00000.tar")
    shapes = {read_cutout(next(sources)).array.shape for _ in range(50)}
    assert shapes == {(3, 112, 112)}


def test_a_data_set_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["data/images"] = STACK
    (source,) = discover_sources(f"{tmp_path}/s.h5::imags")
    said = r"no array 'imags'; name one, as in s\.h5::data/images; it holds data/images$"
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(source)


def test_files_are_closed_when_they_are_no_longer_needed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file["images"] = STACK
    np.savez(tmp_path / "s.npz", images=STACK)
    (first, *_), (other, *_) = (
        list(discover_sources(tmp_path / name)) for name in ("s.h5", "s.npz")
    )
    with stacks_in_use():
        read_cutout(first), read_cutout(other)
        with stacks_in_use():  # another run that ends meanwhile
            pass
        assert stacks._open.cache_info().currsize >= 2
    assert stacks._open.cache_info().currsize == 0
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["images"][0] = 7
    with stacks_in_use():
        assert (read_cutout(first).array == 7).all()


def test_bands_of_a_file_that_counts_as_a_stack(tmp_path: Path) -> None:
    cube = np.stack([*make_flux(), *make_flux(seed=1)])[:5]
    options = ReadOptions(bands=("u", "g", "r", "i", "z"))
    np.save(tmp_path / "s.npy", cube)
    source = next(discover_sources(tmp_path / "s.npy"))
    said = r"s\.npy\[0\]: the shape \(5, 64, 64\) is that of 5 images.* as \(1, 5, 64, 64\)"
    with pytest.raises(BandError, match=said):
        read_cutout(source, options=options)
    np.save(tmp_path / "t.npy", cube[None])
    (source,) = discover_sources(tmp_path / "t.npy")
    np.testing.assert_array_equal(read_cutout(source, options=options).array, cube)


def test_a_parquet_column_of_paths_is_no_column_of_images(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"paths": ["a.jpg", "b.jpg"]}), tmp_path / "s.parquet")
    (source,) = discover_sources(f"{tmp_path}/s.parquet::paths")
    said = "the column 'paths' holds string, not .*--catalogue FILE --path-column paths"
    with pytest.raises(UnsupportedImageError, match=said):
        read_cutout(source)


@pytest.mark.parametrize(
    "name", ["a.npy", "a.npz", "a.h5", "a.tar", "a.parquet", "a.zip", "a.asdf"]
)
def test_what_a_server_sent_in_place_of_a_container_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UnsupportedImageError, match=r"git lfs pull"):
        list(list_container(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("ra", "dec"), [("RA", "DEC"), ("RAJ2000", "DEJ2000"), ("s_ra", "s_dec"), ("Ra", "dec")]
)
@pytest.mark.parametrize("end", ["h5", "npz", "parquet"])
def test_positions_beside_images_by_their_usual_names(
    tmp_path: Path, end: str, ra: str, dec: str
) -> None:
    path, columns = tmp_path / f"s.{end}", {ra: np.arange(6) + 0.5, dec: np.arange(6) - 9.5}
    columns["OBJID"] = np.arange(100, 106)
    if end == "npz":
        np.savez(path, images=STACK, **columns)
    elif end == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, values in {"images": STACK, **columns}.items():
                file[name] = values
    else:
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": list(map(to_png, IMAGES)), **columns}), path)
    found = list(discover_sources(path))
    assert [(s.columns["ra"], s.columns["dec"]) for s in found] == [
        (n + 0.5, n - 9.5) for n in range(6)
    ]
    assert [source.object_id for source in found] == [str(n) for n in range(100, 106)]


def test_positions_that_may_be_in_radians_are_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=STACK, coord_ra=np.ones(6), coord_dec=np.ones(6))
    assert "ra" not in next(discover_sources(tmp_path / "s.npz")).columns
