"""``galmorph inspect``: what one image is, and what is done to its pixels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from galmorph.cli.options import GroupedCommand, options_of, prepare_picture
from galmorph.errors import GalmorphError
from galmorph.settings import ClassifyOptions, ModelOptions, PixelOptions
from galmorph.writing import say_unwritable

if TYPE_CHECKING:
    from PIL.Image import Image

    from galmorph.images.cutout import Cutout
    from galmorph.images.source import Source
    from galmorph.inference.engine import Block
    from galmorph.pipeline import Pipeline
    from galmorph.preprocessing.pipeline import Prepared

# Lines that a note of the reader belongs to.
SHARED_LABELS = (("position", "position"), ("pixel scale", "pixel_scale"), ("bands", "bands"))

# Of what the preprocessing notes, beside lines that say the same of the file.
LATER_LABELS = {"bands": "bands used", "unit": "unit used", "bad_pixels": "bad pixels seen"}


@click.command(cls=GroupedCommand)
@click.argument("file", type=click.Path(), metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PNG",
    help="Draw four panels: image, stretched, cropped, what the network sees.",
)
@click.option(
    "--why",
    metavar="CLASS",
    help="With -o, what the share of this class rests on: it falls (red) or rises "
    "(blue) where a part is covered by sky.",
)
@click.option(
    "--attention",
    is_flag=True,
    help="With -o, what the ViT branch attends to, more (red) or less (blue) than evenly.",
)
@click.option("--head", metavar="NAME|FILE", help="Head [default: the model's first, if any].")
@options_of(ModelOptions, "model")
@options_of(PixelOptions)
@click.pass_context
def inspect(
    ctx: click.Context, /, file: str, output: Path | None, why: str | None, **given: Any
) -> None:
    """Say what one image is, how it is treated, and what comes out.

    Of a folder or a container the first image is taken.
    """
    from galmorph.inputs import open_inputs

    if output is not None and output.suffix.lower() != ".png":
        raise click.UsageError(f"{output}: the panels are written as .png")
    attention = given.pop("attention")
    if output is None and (why or attention):
        raise click.UsageError("--why and --attention draw: say where with -o.")
    if output is not None:
        prepare_picture(str(output), inputs=(file,))
    options = ClassifyOptions(images=(file,), **given)
    source = next(open_inputs(options).list_sources(), None)
    if source is None:
        raise click.UsageError(f"{file}: there is no image in it")
    from galmorph.pipeline import open_pipeline

    pipeline = open_pipeline(options)
    if options.head is None and pipeline.model.heads:
        pipeline = replace(pipeline, head=next(iter(pipeline.model.heads.values())))
    cutout, prepared = _inspect(pipeline, source)
    if output is not None:
        from galmorph.thumbnails import CROPPED, join_panels, make_panels

        panels = make_panels(
            cutout, pipeline.model.preprocessing, pipeline.field_of_view, pipeline.rendering
        )
        panels |= _explain(pipeline, prepared, panels[CROPPED], why, attention=attention)
        with say_unwritable(output):
            join_panels(panels).save(output)
        click.echo(f"panels           {output}")


def _explain(
    pipeline: Pipeline, prepared: Prepared, cropped: Image, why: str | None, *, attention: bool
) -> dict[str, Image]:
    """Maps over the field of view, by their captions."""
    from galmorph.thumbnails import draw_heat
    from galmorph.why import compute_attention, compute_occlusion

    model, pixels, found = pipeline.model, prepared.pixels, {}
    if why and pipeline.head is None:
        raise click.UsageError(f"--why {why}: the model {model.name!r} has no head.")
    if why and pipeline.head is not None:
        heat = compute_occlusion(model, pipeline.head, pixels, why)
        found[f"what {why} rests on"] = draw_heat(cropped, heat)
    if attention:
        found["attention of the ViT branch"] = draw_heat(cropped, compute_attention(model, pixels))
    return found


def _inspect(pipeline: Pipeline, source: Source) -> tuple[Cutout, Prepared]:
    from galmorph.images.ahead import bring_ahead
    from galmorph.images.read import read_cutout

    cutout = read_cutout(source, options=pipeline.read)
    described = _describe_cutout(cutout)
    _print_pairs(described)
    prepared = _prepare(pipeline, cutout)
    _print_pairs(_describe_prepared(prepared, cutout, described))
    block = next(pipeline.run(bring_ahead([source], within=pipeline.read.within)))
    _print_pairs(_describe_result(pipeline, block))
    return cutout, prepared


def _prepare(pipeline: Pipeline, cutout: Cutout) -> Prepared:
    try:
        return pipeline.model.preprocessing.prepare(
            cutout, field=pipeline.field_of_view, rendering=pipeline.rendering
        )
    except ValueError as error:
        if isinstance(error, GalmorphError):
            raise
        raise click.UsageError(f"{cutout.path}: {error}") from error


def _describe_cutout(cutout: Cutout) -> dict[str, str]:
    import numpy as np

    array, notes = cutout.array, dict(cutout.notes)
    position = f"RA {cutout.ra:.6f}, Dec {cutout.dec:+.6f} degrees"
    finite = np.isfinite(array)
    height, width = array.shape[1:]
    described = {
        "file": cutout.path,
        "object_id": cutout.object_id,
        "size": f"{width} x {height} pixels, {array.shape[0]} planes of {array.dtype}",
        "kind": cutout.kind,
        "bands": ", ".join(cutout.bands),
        "range": f"{array[finite].min():g} to {array[finite].max():g}" if finite.any() else "none",
        "bad pixels": str(_count_bad(cutout)),
        "unit": cutout.unit or "unknown",
        "survey": cutout.survey or "unknown",
        "position": "unknown" if math.isnan(cutout.ra) else position,
        "pixel scale": _format_number(cutout.pixel_scale, "arcsec"),
    }
    for label, key in SHARED_LABELS:
        if key in notes:
            described[label] += f" ({notes.pop(key)})"
    return described | notes


def _count_bad(cutout: Cutout) -> int:
    from galmorph.preprocessing.pixels import find_bad_pixels
    from galmorph.preprocessing.render import is_zero_bad

    bad = find_bad_pixels(cutout.array, cutout.bad, zero_is_bad=is_zero_bad(cutout))
    return 0 if bad is None else int(bad.any(axis=0).sum())


def _format_number(value: float, unit: str) -> str:
    return "unknown" if math.isnan(value) else f"{value:.4g} {unit}"


def _describe_prepared(
    prepared: Prepared, cutout: Cutout, described: dict[str, str]
) -> dict[str, str]:
    side = prepared.pixels.shape[-1]
    new = {
        LATER_LABELS.get(key, key): value
        for key, value in prepared.notes.items()
        if cutout.notes.get(key) != value
        and described.get(key.replace("_", " ")) not in (value, value.replace(",", ", "))
    }
    return {
        "field of view": f"{_format_number(prepared.fov, 'arcsec')}, "
        f"{prepared.crop:.4g} of the frame's shorter side",
        "network sees": f"{side} x {side} pixels, {prepared.pixels.dtype}",
        **new,
    }


def _describe_result(pipeline: Pipeline, block: Block) -> dict[str, str]:
    from galmorph.flags import decode_flags
    from galmorph.inference.results import ResultPlan

    columns = ResultPlan(pipeline.model, pipeline.head).fill(block)
    flags = int(columns["flags"][0])
    result = {"model": pipeline.model.name}
    if pipeline.head is not None:
        result["head"] = pipeline.head.name
        if "label" in columns:
            result["label"] = columns["label"][0] or "none"
        numbers = [c.name for c in pipeline.head.columns() if c.is_float and c.name != "confidence"]
        shown = [f"{name.removeprefix('p_')} {columns[name][0]:.3f}" for name in numbers]
        result["shares"] = ", ".join(shown)
    if "atypicality" in columns:
        result["atypicality"] = f"{columns['atypicality'][0]:.3f}"
    result["flags"] = f"{flags} ({', '.join(decode_flags(flags)) or 'none'})"
    if block.rows[0].message:
        result["message"] = block.rows[0].message
    return result


def _print_pairs(pairs: dict[str, str]) -> None:
    for key, value in pairs.items():
        click.echo(f"{key:<16} {value}")
