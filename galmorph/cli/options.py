"""Options that several commands share, and what a user may write as their values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

__all__ = [
    "BACKEND_NAMES",
    "BANDS",
    "CROP",
    "HDU",
    "NAN_POLICIES",
    "PART",
    "PRECISION_NAMES",
    "STRETCH_NAMES",
    "backend_option",
    "describe_pixels",
    "engine_options",
    "input_options",
    "max_pixels_option",
    "model_option",
    "output_options",
    "pixel_options",
    "rendering_options",
]

# Written out, because the modules that own these names are too heavy to be loaded for --help;
# a test compares them.
STRETCH_NAMES = (
    "auto",
    "legacysurvey",
    "gzdecals",
    "sdss",
    "lupton",
    "asinh",
    "zscale",
    "percentile",
)
NAN_POLICIES = ("interpolate", "zero", "refuse")
PRECISION_NAMES = ("auto", "float32", "bfloat16", "float16")
BACKEND_NAMES = ("torch", "onnx")

MAX_CROP = 10.0
"""Frames that leave so much of the field empty show nothing; larger numbers are meant as pixels."""

# click's ParamType is generic from 8.4 on only.
if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType

Command = TypeVar("Command", bound=Callable[..., Any])


class _Crop(_ParamType):
    name = "crop"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        if value == "auto" or isinstance(value, float):
            return value  # type: ignore[no-any-return]
        try:
            crop = float(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor 'auto'", param, ctx)
        if not 0 < crop < math.inf:
            self.fail(f"{value!r} must be positive", param, ctx)
        if crop > MAX_CROP:
            self.fail(
                f"{value!r} is a fraction of the frame's shorter side, not a number of pixels: the "
                "central 180 of 424 px are 0.4245",
                param,
                ctx,
            )
        return crop


class _Hdu(_ParamType):
    name = "hdu"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str | tuple[int | str, ...]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        parts = [part.strip() for part in value.split(",")]
        if not all(parts):
            self.fail(f"{value!r} has an empty name", param, ctx)
        hdus = tuple(int(part) if part.isdigit() else part for part in parts)
        return hdus[0] if len(hdus) == 1 else hdus


class _Bands(_ParamType):
    name = "bands"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if not isinstance(value, str):
            return tuple(value)
        bands = tuple(part.strip() for part in value.split(","))
        if not all(bands) or len(set(bands)) != len(bands):
            self.fail(f"{value!r} is not a list of different names, as g,r,z is", param, ctx)
        return bands


class _Part(_ParamType):
    name = "part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        number, _, count = value.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(f"{value!r} is not like 3/8, the third of eight parts", param, ctx)
        return int(number), int(count)


CROP, HDU, BANDS, PART = _Crop(), _Hdu(), _Bands(), _Part()


def _apply(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator out of several, in the order in which --help lists them."""

    def decorate(command: Command) -> Command:
        return reduce(lambda decorated, option: option(decorated), reversed(options), command)

    return decorate


model_option = click.option(
    "--model",
    metavar="NAME|FILE",
    help="A model of `galmorph weights list`, a safetensors or ONNX file of galmorph's, or "
    "hf_hub:ORG/NAME for an encoder of timm [default: the bundled one].",
)

input_options = _apply(
    click.argument("paths", nargs=-1, metavar="[PATH]..."),
    click.option(
        "--recursive/--no-recursive",
        default=True,
        show_default=True,
        help="Go into the folders inside a folder.",
    ),
    click.option(
        "--catalogue",
        metavar="FILE",
        help="Take the cutouts from a table (CSV, ECSV, FITS, VOTable, Parquet) instead of PATHs; "
        "its columns are carried into the result.",
    ),
    click.option(
        "--path-column",
        metavar="NAME",
        multiple=True,
        help="Column of the catalogue that holds the paths; repeat it once per band "
        "(with --bands) where each band has a file of its own.",
    ),
    click.option(
        "--id-column",
        metavar="NAME",
        help="Column that becomes object_id [default: object_id, else by the file, or the row's "
        "number].",
    ),
    click.option(
        "--ra-column",
        metavar="NAME",
        help="Right ascension, degrees or 12:34:56.7 [default: ra, RAJ2000, RA_ICRS, ALPHA_J2000].",
    ),
    click.option(
        "--dec-column",
        metavar="NAME",
        help="Declination, degrees or +12:34:56 [default: the one that belongs to it].",
    ),
    click.option(
        "--mosaic",
        metavar="FILE",
        multiple=True,
        help="Cut the catalogue's positions out of this FITS image (with --fov); once per band "
        "where each has an image of its own. Tiles of a field take a run each.",
    ),
    click.option(
        "--bands-from-name",
        metavar="PATTERN",
        help='Join the files of one galaxy, as in "{id}_{band}.fits".',
    ),
    click.option(
        "--part",
        type=PART,
        default="1/1",
        metavar="K/N",
        help="Every N-th of the cutouts, from the K-th on: for N jobs that share the work "
        "(and whose results stand outside the folders that are searched).",
    ),
)

rendering_options = _apply(
    click.option(
        "--hdu",
        type=HDU,
        metavar="N|NAME",
        help="FITS: HDU that holds the image; several, as in 1,2,3, are stacked as bands "
        "[default: the first with an image, and those after it that hold other bands].",
    ),
    click.option(
        "--bands",
        type=BANDS,
        metavar="BAND,...",
        help="FITS: names of the planes where the file has none, else those to take.",
    ),
    click.option(
        "--stretch",
        type=click.Choice(STRETCH_NAMES),
        default="auto",
        show_default=True,
        help="How flux becomes colour; auto goes by the survey in the header.",
    ),
    click.option(
        "--zeropoint",
        type=float,
        metavar="MAG",
        help="AB magnitude of one count, where the file does not say its unit.",
    ),
    click.option(
        "--nan",
        type=click.Choice(NAN_POLICIES),
        default="interpolate",
        show_default=True,
        help="What to do with bad pixels.",
    ),
)

max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    metavar="N",
    help="Refuse larger images: width x height x bands [default: 27 million].",
)

pixel_options = _apply(
    rendering_options,
    click.option(
        "--crop",
        type=CROP,
        metavar="F|auto",
        help="Central part of the frame to look at, as a fraction; auto measures the galaxy "
        "[default: what the weights expect].",
    ),
    click.option(
        "--fov",
        type=click.FloatRange(min=0, min_open=True),
        metavar="ARCSEC",
        help="Field of view to look at; needs a WCS or --pixel-scale.",
    ),
    click.option(
        "--pixel-scale",
        type=click.FloatRange(min=0, min_open=True),
        metavar="ARCSEC",
        help="Size of a pixel, where the file does not tell.",
    ),
    click.option(
        "--center",
        type=(float, float),
        metavar="RA DEC",
        help="FITS: centre in degrees, ICRS [default: the middle].",
    ),
    max_pixels_option,
)

engine_options = _apply(
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="auto, cpu, cuda, cuda:N or mps.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Cutouts encoded together [default: by device].",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Threads that read (and, on the CPU, encode) [default: one per core].",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISION_NAMES),
        default="auto",
        show_default=True,
        help="auto is bfloat16 where the device multiplies in it, else float32.",
    ),
)

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    default="torch",
    show_default=True,
    help="onnx computes with onnxruntime on the CPU and starts without torch (needs the extra "
    "onnx); a --model file of `galmorph export` implies it.",
)

output_options = _apply(
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the partial result that a run with the same inputs and options left.",
    ),
    click.option(
        "--strict", is_flag=True, help="Exit with status 1 if any cutout of the table failed."
    ),
    click.option("-q", "--quiet", is_flag=True, help="No progress, no summary."),
)


def describe_pixels(given: Mapping[str, Any]) -> dict[str, str]:
    """Options that change what the encoder sees of an image, as they would be typed."""
    usual = {"stretch": "auto", "nan": "interpolate"}
    found = {}
    names = ["hdu", "bands", "stretch", "zeropoint", "nan", "pixel_scale", "center"]
    if given.get("center") is not None:
        names.append("fov")  # of the part that is cut out
    for name in names:
        value = given.get(name)
        if value is not None and value != usual.get(name):
            several = isinstance(value, (tuple, list))
            separator = " " if name == "center" else ","
            found[name.replace("_", "-")] = (
                separator.join(map(str, value)) if several else str(value)
            )
    return found
