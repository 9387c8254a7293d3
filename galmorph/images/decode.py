"""The bytes of one image to a cutout; the first of them decide the kind, never a suffix."""

import re

from galmorph.errors import UnreadableImageError, UnsupportedImageError
from galmorph.images.compressed import LZW_MAGIC, decompress, find_method, unpack_lzw
from galmorph.images.cutout import Cutout
from galmorph.images.raster import read_raster, sniff_raster
from galmorph.images.source import FITS_MAGIC, TABLE_ADVICE
from galmorph.settings import ReadOptions

NOT_READ = "which is not read; save it as PNG or FITS"
LFS_POINTER = b"version https://git-lfs"
OTHER_MAGIC = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file; name the data set, as in file.h5::images",
    b"PK\x03\x04": "a zip archive; it must be named *.zip, or *.npz where it is a stack",
    b"\x93NUMPY": "a numpy file; a stack must be named *.npy",
    b"PAR1": "a Parquet file; it must be named *.parquet",
    b"GIF8": "a GIF, which has too few colours; save it as PNG from the original",
    b"BM": "a BMP; save it as PNG",
    b"#ASDF": "an ASDF file; it must be named *.asdf",
    b"\0\0\0\x0cjP  ": f"a JPEG 2000 image, {NOT_READ}",
    b"\xff\x4f\xff\x51": f"a JPEG 2000 image, {NOT_READ}",
    LFS_POINTER: "a Git LFS pointer, not the file; get that with git lfs pull",
    b"%PDF": "a PDF; save the image in it as PNG or FITS",
    b"/annex/objects/": "a git-annex pointer, not the file; get that with git annex get",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!\x1a\x07": "a RAR archive; unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it",
    b"\0\0\0\x0cJXL ": f"a JPEG XL image, {NOT_READ}",
    b"\xff\x0a": f"a JPEG XL image, {NOT_READ}",
    b"P5\n": f"a PGM image, {NOT_READ}",
    b"P6\n": f"a PPM image, {NOT_READ}",
    b"<svg": "a drawing in SVG; save it as PNG",
}
WEB_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|title|body)\b",
    re.IGNORECASE | re.DOTALL,
)
ANSWER = re.compile(rb"\s*(?:<\?xml|\{\s*\")", re.IGNORECASE)
TEXT = re.compile(rb"[\t\n\r -~]+")
STATUS = re.compile(rb"<title>\s*([1-5][0-9]{2}(?: [a-z]{1,20}){1,4})\s*</title>", re.IGNORECASE)
"""Of a server's error page: all that is shown of a file that is no image."""

TEXT_START = 2048
MAX_LZW_BYTES = 32 << 20  # out of a file of compress, which is unpacked in Python


def decode_image(data: bytes, options: ReadOptions) -> Cutout:
    """Decode a raster image or a FITS file, in gzip, bzip2, xz or compress as well."""
    if cutout := _decode(data, options):
        return cutout
    if method := find_method(data):
        data = decompress(data, method, limit=options.max_bytes)
    elif data.startswith(LZW_MAGIC):
        data = unpack_lzw(data, limit=min(options.max_bytes, MAX_LZW_BYTES))
    if (cutout := _decode(data, options)) is None:
        raise _refuse(data)
    return cutout


def _decode(data: bytes, options: ReadOptions) -> Cutout | None:
    if raster := sniff_raster(data):
        return read_raster(data, raster, options)
    if data.startswith(FITS_MAGIC):
        from galmorph.images.fits import read_fits

        return read_fits(data, options)
    return None


def _refuse(data: bytes) -> Exception:
    for magic, advice in OTHER_MAGIC.items():
        if data.startswith(magic):
            return UnsupportedImageError(f"this is {advice}")
    if answer := find_answer(data):
        return UnsupportedImageError(answer)
    if data[4:8] == b"ftyp":
        return UnsupportedImageError(f"this is a HEIC or AVIF image, {NOT_READ}")
    if data[257:262] == b"ustar":
        return UnsupportedImageError("this is a tar file; it must be named *.tar")
    if not data.strip(b"\0"):
        reason = "it holds zeros alone, as of a download that was cut short; download it again"
        return UnreadableImageError(reason)
    reason = "not an image: its bytes are none of JPEG, PNG, TIFF, WebP, FITS"
    if TEXT.fullmatch(data, 0, TEXT_START):
        reason += f"; it is a text: the answer of a server, or {TABLE_ADVICE}"
    return UnreadableImageError(reason)


def find_answer(data: bytes) -> str:
    """What is to be said of a server's answer in place of a file; "" for what is none."""
    if data.startswith(LFS_POINTER):
        return f"this is {OTHER_MAGIC[LFS_POINTER]}"
    if WEB_PAGE.match(data, 0, TEXT_START):
        found = STATUS.search(data, 0, TEXT_START)
        status = f" ({found[1].decode()})" if found else ""
        return f"this is a web page{status}; download the file again"
    if ANSWER.match(data, 0, TEXT_START):
        return f"this is a text in XML or JSON: an error of a server, or {TABLE_ADVICE}"
    return ""
