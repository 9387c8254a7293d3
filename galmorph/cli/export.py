"""``galmorph export``: a model in a format that other programs run."""

from pathlib import Path

import click

from galmorph.cli.options import GroupedCommand, options_of, overwrite_option, prepare_output
from galmorph.settings import ModelOptions


@click.command(cls=GroupedCommand)
@options_of(ModelOptions, "model")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write, ending in .onnx.",
)
@overwrite_option
def export(model: str | None, output: Path) -> None:
    """Write a model with its heads to one ONNX file.

    That is opset 18; the extra onnx is needed. Its input is `pixels`, (n, 3, 84, 84) float32 on
    [0, 1], red, green, blue; its outputs are `embedding`, (n, 512), and `probabilities_HEAD` for
    every head. Normalization is part of the graph; field of view and class names stand in the
    metadata. `galmorph classify --model FILE` runs it without torch.
    """
    if output.suffix != ".onnx":
        raise click.UsageError(f"The name of an ONNX file ends in .onnx, not {output.name!r}.")
    prepare_output(str(output))
    _refuse_timm(model)
    from galmorph.inference.onnx_file import write_onnx
    from galmorph.pipeline import load_model

    loaded = load_model(model, backend="onnx")
    write_onnx(output, loaded)
    click.echo(f"{output}  {loaded.name}, {', '.join(loaded.heads) or 'no heads'}", err=True)


def _refuse_timm(model: str | None) -> None:
    """Refuse what cannot be exported before its weights are downloaded."""
    from galmorph.errors import UnknownModelError
    from galmorph.weights.locate import is_hub_name
    from galmorph.weights.manifest import load_manifest

    try:
        of_timm = model is not None and load_manifest().get(model).kind == "timm"
    except UnknownModelError:  # a file, or nothing
        of_timm = is_hub_name(str(model))
    if of_timm:
        raise click.UsageError(
            f"{model} is an encoder of timm; galmorph exports those of its own architectures."
        )
