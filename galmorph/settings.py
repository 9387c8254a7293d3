"""Every option of a run, once: default, unit, check, and what it says of itself."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, replace
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

from galmorph.errors import OptionError
from galmorph.remote import to_path

_SURVEYS, _GENERAL = "survey_stretches", "general_stretches"  # modules of galmorph.preprocessing
STRETCHES = {
    "legacysurvey": _SURVEYS,
    "gzdecals": _SURVEYS,
    "sdss": _SURVEYS,
    "lupton": _GENERAL,
    "asinh": _GENERAL,
    "zscale": _GENERAL,
    "percentile": _GENERAL,
}
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
BackendName = Literal["torch", "onnx"]
BadPixelPolicy = Literal["interpolate", "zero", "refuse"]
PathLike = str | os.PathLike[str]
OnError = Literal["flag", "raise"]

MAX_CROP = 10.0  # more leaves a frame all but empty; larger numbers are meant as pixels
BAND_LETTERS = frozenset("ugrizyYJHK")  # bands that may stand side by side in one word, as in "grz"


ARCSEC = ("a positive number of arcseconds", "arcsec")


class Kind:
    """What the values of an option are; `check` raises a ValueError that says what is wrong."""

    metavar = "NAME"

    def read(self, text: str) -> Any:
        """A value as it is typed."""
        return text

    def check(self, value: Any) -> Any:
        """The value as it is kept."""
        return value


class Number(Kind):
    """A number, by default one that is positive; an angle may come with a unit of astropy's."""

    metavar = "F"

    def __init__(
        self,
        said: str = "positive",
        *units: str,
        fits: Callable[[float], bool] = lambda value: value > 0,
    ):
        self.said, self.units, self.fits = said, units, fits

    def read(self, text: str) -> Any:
        with suppress(ValueError):
            return float(text)
        raise ValueError(f"must be {self.said}, not {text!r}")

    def check(self, value: Any) -> Any:
        value = _strip_unit(value, *self.units)
        if not (_is_number(value) and math.isfinite(value) and self.fits(float(value))):
            raise ValueError(f"must be {self.said}, not {value!r}")
        return float(value)


WHOLE = Number("within 0 to 1", fits=lambda value: 0 <= value <= 1)
SOME = Number("above 0, and 1 at most", fits=lambda value: 0 < value <= 1)
INSIDE = Number("between 0 and 1", fits=lambda value: 0 < value < 1)  # parts of a whole


class OrAuto(Number):
    """The same, or "auto"."""

    def read(self, text: str) -> Any:
        return text if text == "auto" else super().read(text)

    def check(self, value: Any) -> Any:
        return value if isinstance(value, str) and value == "auto" else super().check(value)


class Crop(OrAuto):
    """A part of the frame's shorter side."""

    metavar = "F|auto"

    def __init__(self) -> None:
        super().__init__("positive or auto")

    def check(self, value: Any) -> float | str:
        crop: float | str = super().check(value)
        if not isinstance(crop, str) and crop > MAX_CROP:
            raise ValueError(
                f"is a fraction of the frame's shorter side, not a number of pixels as {crop:g} "
                "is: the central 180 of 424 px are 0.4245"
            )
        return crop


class Whole(Kind):
    """A whole number, by default from 1 on."""

    metavar = "N"

    def __init__(self, least: int = 1):
        self.least = least

    def read(self, text: str) -> Any:
        return int(text) if text.lstrip("-").isdecimal() else text

    def check(self, value: Any) -> int:
        if not isinstance(value, Integral) or int(value) < self.least:
            raise ValueError(f"must be a whole number of at least {self.least}, not {value!r}")
        return int(value)


class Choice(Kind):
    """One of some words."""

    def __init__(self, *names: str):
        self.names = names

    def check(self, value: Any) -> str:
        if value not in self.names:
            raise ValueError(f"is one of {', '.join(self.names)}, not {value!r}")
        return str(value)


class Flag(Kind):
    """Yes or no."""

    def check(self, value: Any) -> bool:
        return bool(value)


class Texts(Kind):
    """One or several words; on the command line the option is repeated."""

    def check(self, value: Any) -> tuple[str, ...]:
        one = isinstance(value, str | os.PathLike)
        return tuple(map(os.fspath, (value,) if one else value))


class Names(Kind):
    """Words between commas."""

    metavar = "A,B,..."

    def read(self, text: str) -> tuple[Any, ...]:
        names = tuple(part.strip() for part in text.split(",") if part.strip())
        if not names:
            raise ValueError(f"is a list of names separated by commas, not {text!r}")
        return names


class File(Kind):
    """A path."""

    metavar = "FILE"

    def check(self, value: Any) -> str:
        if not isinstance(value, str | os.PathLike):
            raise ValueError(f"is a path, not {value!r}")
        return to_path(os.fspath(value))


class TableFile(File):
    """A path, or a table in memory."""

    def check(self, value: Any) -> Any:
        in_memory = hasattr(value, "colnames") or hasattr(value, "iloc")
        return value if in_memory else super().check(value)


class Hdu(Kind):
    """Number or name of an HDU, or several."""

    metavar = "N|NAME|each"

    def read(self, text: str) -> Any:
        parts = [part.strip() for part in text.split(",")]
        if not all(parts):
            raise ValueError(f"has an empty name: {text!r}")
        hdus = tuple(int(part) if part.isdigit() else part for part in parts)
        return hdus[0] if len(hdus) == 1 else hdus

    def check(self, value: Any) -> Any:
        value = _to_python(value)
        return tuple(value) if isinstance(value, list) else value


class Bands(Kind):
    """Different names, in a sequence or in one word: "grz" or "g,r,z"."""

    metavar = "BAND,..."

    def check(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            names = (
                value.split(",") if "," in value or not BAND_LETTERS.issuperset(value) else value
            )
        else:
            names = _to_python(value)
        bands = tuple(str(name).strip() for name in names)
        if not bands or not all(bands) or len(set(bands)) != len(bands):
            raise ValueError(f"is not a list of different names, as g,r,z is: {value!r}")
        return bands


class Center(Kind):
    """RA and Dec in degrees (ICRS), or what astropy has for them."""

    metavar = "RA DEC"

    def check(self, value: Any) -> tuple[float, float]:
        if hasattr(value, "icrs"):
            value = (value.icrs.ra, value.icrs.dec)
        if hasattr(value, "unit") and getattr(value, "shape", None):
            value = tuple(value)
        value = _to_python(value)
        angles = [_strip_unit(x, "deg") for x in value] if isinstance(value, tuple | list) else []
        if len(angles) != 2 or not all(map(_is_number, angles)):
            raise ValueError(f"is RA and Dec in degrees, not {value!r}")
        ra, dec = map(float, angles)
        if not -90 <= dec <= 90:
            raise ValueError(f"has the declination {dec}, not within -90 to 90 degrees")
        if not math.isfinite(ra):
            raise ValueError(f"has no number of degrees: the right ascension is {ra}")
        return ra, dec


class Part(Kind):
    """One of several equal parts."""

    metavar = "K/N"

    def check(self, value: Any) -> tuple[int, int]:
        words = value.split("/") if isinstance(value, str) else list(map(str, value))
        if len(words) == 2 and all(word.isdecimal() for word in words):
            number, count = map(int, words)
            if 1 <= number <= count:
                return number, count
        raise ValueError(f"{value!r} is not like 3/8, the third of eight parts")


def _to_python(value: Any) -> Any:
    """Arrays of numpy as lists; all else as it is."""
    return value.tolist() if hasattr(value, "tolist") and not hasattr(value, "unit") else value


def _is_number(value: Any) -> bool:
    """Of Python or numpy, arrays without an axis among them."""
    if isinstance(value, str | bytes):
        return False
    with suppress(TypeError, ValueError):
        float(value)
        return not hasattr(value, "unit")
    return False


def _strip_unit(value: Any, *units: str) -> Any:
    """A quantity of astropy in the first of these units that fits; all else as it is."""
    if not (units and hasattr(value, "to_value")):
        return value
    if value.size != 1:
        raise ValueError(f"must be one value, not {value!r}")
    for unit in units:
        with suppress(ValueError):  # astropy's UnitConversionError is one
            return float(value.reshape(()).to_value(unit))
    raise ValueError(f"is in {value.unit}, which cannot be brought to {units[0]}")


@dataclass(frozen=True)
class Option:
    """What an option says of itself; `flag` are further names of it."""

    kind: Kind
    rare: bool = False
    only: Literal["", "python", "command"] = ""
    metavar: str = ""
    flag: str = ""
    listed: bool = True
    help: str = ""


def option(value: Any, kind: Kind | None = None, **more: Any) -> Any:
    kind = kind or (Flag() if isinstance(value, bool) else Kind())
    return field(default=value, metadata={"option": Option(kind, **more)})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of the classes below: every value is checked where it is set.

    Their docstrings hold the help, as ``name: text [default: in words].``
    """

    group: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            value, option = getattr(self, each.name), each.metadata["option"]
            if value is None or value is each.default:
                continue
            try:
                object.__setattr__(self, each.name, option.kind.check(value))
            except ValueError as error:
                raise OptionError(f"{each.name} {error}") from error

    @classmethod
    def take(cls, given: dict[str, Any]) -> Self:
        """Those of some options, which are taken out."""
        return cls(
            **{each.name: given.pop(each.name) for each in fields(cls) if each.name in given}
        )

    def pick(self, kind: type[Settings]) -> dict[str, Any]:
        """The values that another class has too."""
        return {each.name: getattr(self, each.name) for each in fields(kind)}

    def list_given(self) -> dict[str, Any]:
        """Values that are not the default ones."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) != f.default}


@dataclass(frozen=True, kw_only=True)
class FileOptions(Settings):
    """How files are read, as a user says it.

    hdu: FITS: HDU that holds the image; several, as in 1,2,3, are stacked as bands; each: a row for
        each HDU that holds a galaxy [default: the first with an image, and those after it that hold
        other bands].
    bands: Names of the planes where the file has none, else those to take.
    pixel_scale: Size of a pixel, where the file does not tell.
    center: FITS: centre in degrees, ICRS [default: the middle].
    within: Read no image outside this folder or URL, whatever paths a table holds.
    max_pixels: Refuse larger images: width x height x bands.
    """

    group = "Pixels"
    hdu: int | str | tuple[int | str, ...] | None = option(None, Hdu())
    bands: Sequence[str] | None = option(None, Bands())
    pixel_scale: float | None = option(None, Number(*ARCSEC, "arcsec/pix"), metavar="ARCSEC")
    center: tuple[float, float] | None = option(None, Center())
    within: str | None = option(None, File(), metavar="DIR", rare=True)
    max_pixels: int = option(27_000_000, Whole(), rare=True)


@dataclass(frozen=True, kw_only=True)
class ReadOptions(FileOptions):
    """How files are read, with what galmorph adds.

    `fov` is the side in arcseconds to cut out; a JPEG is reduced while its sides keep `min_side`;
    nobody looks beyond the central `seen` of the shorter side, in frames of `seen_side` pixels.
    """

    fov: float | None = option(None, Number(*ARCSEC), listed=False)
    min_side: int | None = option(None, Whole(), listed=False)
    seen: float | None = option(None, Number(), listed=False)
    seen_side: int | None = option(None, Whole(), listed=False)

    @property
    def max_bytes(self) -> int:
        """Largest decompressed file: 8 bytes per pixel and 4 MiB of headers."""
        return 8 * self.max_pixels + (4 << 20)


@dataclass(frozen=True, kw_only=True)
class FieldOptions(Settings):
    """Which part of the frame to look at; by default what the weights expect.

    crop: Central part of the frame to look at, as a fraction; auto measures the galaxy [default:
        what the weights expect].
    fov: Field of view to look at; needs a WCS or --pixel-scale. With --survey auto goes by the
        column petroR90_r or shape_r.
    """

    group = "Pixels"
    crop: float | Literal["auto"] | None = option(None, Crop())
    fov: float | Literal["auto"] | None = option(None, OrAuto(*ARCSEC), metavar="ARCSEC|auto")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop is not None and self.fov is not None:
            raise OptionError("give --crop or --fov: each of them sets the field of view")


@dataclass(frozen=True, kw_only=True)
class RenderOptions(Settings):
    """How flux becomes colour and what happens to bad pixels.

    stretch: How flux becomes colour; auto goes by the survey in the header.
    zeropoint: AB magnitude of one count, where the file does not say its unit.
    nan: What to do with bad pixels.
    nan_fraction: Part of bad pixels above which a row is flagged.
    """

    group = "Pixels"
    stretch: str = option("auto", Choice("auto", *STRETCHES))
    zeropoint: float | None = option(None, Number("a magnitude", fits=math.isfinite), metavar="MAG")
    nan: BadPixelPolicy = option("interpolate", Choice("interpolate", "zero", "refuse"))
    nan_fraction: float = option(0.05, WHOLE, rare=True)


@dataclass(frozen=True, kw_only=True)
class PixelOptions(FieldOptions, FileOptions, RenderOptions):
    """What is done to the pixels of an image, as a user says it."""

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        _ = self.field  # says what does not go together
        if self.fov == "auto" and not getattr(self, "survey", None):
            raise OptionError("--fov auto goes by a radius of the catalogue, with --survey alone")

    @property
    def cuts_out(self) -> bool:
        """Whether the reader cuts the field of view out of a larger image by its WCS."""
        return self.center is not None and self.fov is not None

    @property
    def read(self) -> ReadOptions:
        """How files are read."""
        fov = self.fov if self.center is not None and self.fov != "auto" else None
        return ReadOptions(**self.pick(FileOptions), fov=fov)

    @property
    def field(self) -> FieldOptions:
        """What to look at: all of a part that the reader has cut out."""
        if self.cuts_out:
            return FieldOptions(crop=1.0 if self.crop is None else self.crop)
        return FieldOptions(crop=self.crop, fov=None if self.fov == "auto" else self.fov)

    @property
    def rendering(self) -> RenderOptions:
        """How flux becomes colour."""
        return RenderOptions(**self.pick(RenderOptions))

    def describe(self) -> dict[str, str]:
        """What changes the image that the encoder sees, but for the field, as it is typed."""
        given = self.read.list_given() | self.rendering.list_given()
        given.pop("max_pixels", None)
        return {name.replace("_", "-"): _type(name, value) for name, value in given.items()}


def _type(name: str, value: Any) -> str:
    several = isinstance(value, tuple)
    return (" " if name == "center" else ",").join(map(str, value)) if several else str(value)


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Settings):
    """What embeds.

    model: A model of `galmorph weights list`, a safetensors or ONNX file of galmorph's, or
        hf_hub:ORG/NAME for an encoder of timm [default: the bundled one].
    backend: onnx computes with onnxruntime on the CPU and starts without torch (needs the extra
        onnx); a --model file of `galmorph export` implies it.
    """

    group = "Model"
    model: Any = option(None, metavar="NAME|FILE")
    backend: BackendName = option("torch", Choice("torch", "onnx"), rare=True)

    @property
    def runs_with(self) -> BackendName:
        """What computes: an exported model leaves no choice."""
        return "onnx" if str(self.model).endswith(".onnx") else self.backend


@dataclass(frozen=True, kw_only=True)
class EngineOptions(Settings):
    """How the work is done; none of it changes a result beyond the precision's rounding.

    device: auto, cpu, cuda, cuda:N or mps.
    batch_size: Cutouts encoded together [default: by device].
    workers: Threads that read (and, on the CPU, encode) [default: one per core].
    precision: auto is bfloat16 where the device multiplies in it, else float32.
    """

    group = "Engine"
    device: str = option("auto")
    batch_size: int | None = option(None, Whole())
    workers: int | None = option(None, Whole())
    precision: str = option("auto", Choice(*PRECISIONS), rare=True)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Settings):
    """Where the work is done; in Python `galmorph.ray` has a function of its own.

    engine: ray shares the work among the nodes of a Ray cluster, or the GPUs of this machine; -o is
        then a folder, or its URL, of Parquet parts (needs the extra ray).
    address: Address of a Ray cluster; auto is the one that this machine belongs to [default:
        RAY_ADDRESS, else Ray is started here].
    """

    group = "Engine"
    engine: Literal["local", "ray"] = option("local", Choice("local", "ray"), only="command")
    address: str | None = option(None, only="command", rare=True, metavar="ADDRESS")


@dataclass(frozen=True, kw_only=True)
class InputOptions(Settings):
    """Which cutouts there are.

    recursive: Go into the folders inside a folder.
    catalogue: Take the cutouts from a table (CSV, ECSV, FITS, VOTable, Parquet, JSON Lines, IPAC, a
        folder of Parquet files such as HATS, in Python also a table in memory) instead of PATHs;
        its columns are carried into the result.
    path_column: Column of the catalogue that holds the paths; one per band (with --bands) where
        each band has a file of its own [default: file_name, where the catalogue is called
        metadata].
    band_column: Column of the catalogue that holds the band of each path: the rows of one
        identifier are the bands of one galaxy [default: a row is a galaxy].
    id_column: Column that becomes object_id [default: object_id, else by the file, or the row's
        number].
    mosaic: Cut the catalogue's positions out of this FITS image (with --fov); one per band where
        each has an image of its own. Tiles of a field take a run each.
    survey: Download the catalogue's positions from legacysurvey, sdss or hips:ID (a layer or
        release too, as legacysurvey:ls-dr9), as pictures, or with --bands g,r,z as flux. The field
        is that of --fov, else goes by petroR90_r (sdss), else is measured.
    survey_url: Another place of that service [default: GALMORPH_SURVEY_URL, else its own].
    connections: Downloads at once; the owners of surveys ask for few [default: 4 from a survey, 16
        of URLs].
    bands_from_name: Join the files of one galaxy, as in "{id}_{band}.fits".
    ra_column: Right ascension, degrees or 12:34:56.7 [default: ra, or by its UCD or a survey's
        name].
    dec_column: Declination, degrees or +12:34:56 [default: the one that belongs to it].
    part: Every N-th of the cutouts, from the K-th on: for N jobs that share the work (and whose
        results stand outside the folders that are searched).
    """

    group = "Input"
    images: Any = field(
        default=None, kw_only=False, metadata={"option": Option(Kind(), listed=False)}
    )
    """Paths on the command line; in Python also objects in memory."""
    recursive: bool = option(True, flag="--recursive/--no-recursive")
    catalogue: Any = option(None, TableFile(), metavar="FILE")
    path_column: Sequence[str] = option((), Texts())
    band_column: str | None = option(None)
    id_column: str | None = option(None)
    mosaic: Sequence[str] = option((), Texts(), metavar="FILE")
    survey: str | None = option(None, metavar="NAME[:ID]")
    survey_url: str | None = option(None, metavar="URL", rare=True)
    connections: int | None = option(None, Whole(), rare=True)
    bands_from_name: str | None = option(None, metavar="PATTERN")
    ra_column: str | None = option(None, rare=True)
    dec_column: str | None = option(None, rare=True)
    part: tuple[int, int] = option((1, 1), Part(), rare=True)


@dataclass(frozen=True, kw_only=True)
class OutputOptions(Settings):
    """Where the result goes.

    output: Table to write as it is made; the suffix decides: .fits, .parquet, .csv, .ecsv, .vot,
        .jsonl, and for embeddings .npz, .npy.
    progress: Whether to show a bar; or a function of the number of cutouts done [default: in a
        terminal and in a notebook].
    on_error: Keep the row of a cutout that fails, flagged, or raise the first error.
    resume: Go on with the partial result that a run with the same inputs and options left.
    overwrite: Replace the result, or partial result, that stands there.
    csv_safe: In CSV, put an apostrophe before text that a spreadsheet would run (= + - @ first).
    strict: Exit with status 1 if any cutout of the table failed.
    quiet: No progress, no summary.
    """

    group = "Output"
    output: PathLike = option("", File(), flag="-o --output")
    progress: bool | Callable[[int], None] | None = option(None, only="python")
    on_error: OnError = option("flag", Choice("flag", "raise"), only="python")
    resume: bool = option(False)
    overwrite: bool = option(False)
    csv_safe: bool = option(False, rare=True)
    strict: bool = option(False, only="command")
    quiet: bool = option(False, flag="-q --quiet", only="command")


@dataclass(frozen=True, kw_only=True)
class RunOptions(
    InputOptions, PixelOptions, ModelOptions, EngineOptions, ClusterOptions, OutputOptions
):
    """All options of a run; says what does not go together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.has_images and self.catalogue is not None:
            raise OptionError("Give PATHs, or --catalogue FILE, not both.")
        self._check_catalogue()
        if self.resume and not self.file:
            raise OptionError("Only a file can be resumed: name it with -o.")
        if self.address is not None and self.engine == "local":
            raise OptionError("--address is for --engine ray.")
        if self.resume and self.overwrite:
            raise OptionError("Give --resume or --overwrite, not both.")

    @property
    def cuts_out(self) -> bool:
        """Whether the reader cuts the field of view out of a larger image by its WCS."""
        asked = self.survey and self.fov not in (None, "auto")
        return bool(self.mosaic or asked) or super().cuts_out

    @property
    def has_images(self) -> bool:
        """Whether images are given; a command line without paths has an empty tuple."""
        return self.images is not None and not (
            isinstance(self.images, tuple) and len(self.images) == 0
        )

    @property
    def file(self) -> str:
        """The file that is written; empty for none, and for standard output."""
        return "" if self.output == "-" else self.target

    @property
    def target(self) -> str:
        """Where the result goes; empty for nowhere, "-" for standard output."""
        return os.fspath(self.output)

    @property
    def path_columns(self) -> tuple[str, ...]:
        """Columns of paths; of a data set of Hugging Face, whose table says it by its name."""
        named = isinstance(self.catalogue, str | os.PathLike) and not (self.mosaic or self.survey)
        named = named and os.path.basename(self.catalogue).startswith("metadata.")
        return tuple(self.path_column) or (("file_name",) if named else ())

    def _check_catalogue(self) -> None:
        ways = [name for name in ("survey", "mosaic", "path_column") if getattr(self, name)]
        if self.catalogue is None:
            columns = ("band_column", "id_column", "ra_column", "dec_column")
            if lonely := ways + [name for name in columns if getattr(self, name)]:
                raise OptionError(f"--{lonely[0].replace('_', '-')} needs --catalogue FILE.")
        elif self.bands_from_name is not None:
            raise OptionError(
                "--bands-from-name joins the files of PATHs; with --catalogue give one "
                "--path-column per band."
            )
        elif len(ways) > 1:
            raise OptionError("Give one of --survey, --mosaic and --path-column.")
        elif self.center is not None and (self.survey or self.mosaic):
            raise OptionError(f"Give --{ways[0]} or --center: the catalogue has the centres.")
        elif self.mosaic and self.fov is None:
            raise OptionError("--mosaic needs --fov ARCSEC, the side of each cutout.")
        elif not (ways or self.path_columns):
            raise OptionError(
                "--catalogue needs --path-column NAME, --mosaic FILE, or --survey NAME."
            )
        joined = self.band_column is not None and self.catalogue is not None
        if joined and len(self.path_columns) != 1:
            raise OptionError("--band-column needs one --path-column, and no --mosaic.")
        if len(self.path_column) > 1 and len(self.bands or ()) != len(self.path_column):
            raise OptionError(
                f"{len(self.path_column)} path columns need as many names: --bands g,r,z in the "
                "same order."
            )


@dataclass(frozen=True, kw_only=True)
class ShowOptions(Settings):
    """How a result is looked at.

    report: Make a page of the result as well, as `galmorph report` does.
    samp: Have TOPCAT or Aladin, if they run, load the table (.fits or .vot).
    """

    group = "Output"
    report: str | None = option(None, File(), metavar="HTML", only="command")
    samp: bool = option(False, only="command")


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions(RunOptions, ShowOptions):
    """All options of a run that classifies.

    head: What to tell: classes (gz2, gz2_clean, sdss, decals, decals4), all votes (tree),
        attributes (efigi, of the model labelfree), or a file of `galmorph fit`.
    coverage: Add label_set: the fewest classes of which one is right for this part of the cutouts
        of each class, as long as they are like those that the head was calibrated on [default: no
        such column].
    with_embedding: Add the embedding as a vector column: both in one pass.
    """

    group = "Model"
    head: Any = option("gz2", metavar="NAME|FILE")
    coverage: float | None = option(None, INSIDE, metavar="F")
    with_embedding: bool = option(False)


_HELP = re.compile(r"^(\w+): (.+(?:\n    .+)*)", re.MULTILINE)
GROUPS = ("Options", "Input", "Pixels", "Model", "Engine", "Output")


def list_options(kind: type[Settings]) -> Iterator[tuple[Field[Any], Option, str]]:
    """Fields, options and groups of a class, in the order in which they are listed."""
    bases = [base for base in reversed(kind.__mro__) if issubclass(base, Settings)]
    texts = "\n".join(inspect.cleandoc(base.__doc__ or "") for base in bases)
    said = {name: " ".join(text.split()) for name, text in _HELP.findall(texts)}
    found = [
        (
            each,
            replace(each.metadata["option"], help=said.get(each.name, "")),
            next(base.group for base in bases if each.name in _names(base)),
        )
        for each in fields(kind)
        if each.metadata["option"].listed
    ]
    yield from sorted(found, key=lambda item: GROUPS.index(item[2]))


def _names(kind: type[Settings]) -> list[str]:
    return [each.name for each in fields(kind)]


_TYPED = re.compile(r'--([a-z]+(?:-[a-z]+)*)(?: ([A-Z]{2,}\b|[a-z](?:,[a-z])+|"[^"]+"))?')


def say_in_python(text: str) -> str:
    """The same sentence with keywords in place of options.

    >>> say_in_python("name them with --bands g,r,z, or give --crop")
    'name them with bands="g,r,z", or give crop'
    """

    def say(found: re.Match[str]) -> str:
        name, value = found[1].replace("-", "_"), found[2]
        if name not in _names(ClassifyOptions):
            return found[0]
        return name if value is None else f'{name}="{value}"' if "," in value else f"{name}={value}"

    return _TYPED.sub(say, text).replace("PATHs", "images").replace(" -o", " output")
