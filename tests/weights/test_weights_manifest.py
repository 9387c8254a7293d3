"""The manifest: what is refused, and that the message names the entry and the field."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from manifest_file import replace_entry, write_manifest
from weights_samples import make_entry, make_weights

from galmorph.errors import ManifestError, UnknownModelError
from galmorph.weights.locate import BUNDLED
from galmorph.weights.manifest import (
    Golden,
    Head,
    Manifest,
    ManifestEntry,
    Metric,
    entry_from_dict,
    entry_to_dict,
    load_manifest,
    manifest_path,
)
from galmorph.weights.verify import verify_file

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "galmorph" / "schema.json").read_text())
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def full_entry() -> ManifestEntry:
    """An entry in which every field holds something."""
    return make_entry(
        make_weights(),
        revision=COMMIT,
        bundled="demo.safetensors",
        paper="Wei et al. 2022, PASP 134, 114508",
        heads=(Head("gz2", ("round", "spiral"), "Galaxy Zoo 2"),),
        metrics=(Metric("accuracy", 0.9, "GZ2 test", "linear probe", (0.89, 0.91)),),
        golden=Golden(1, 3, (0.5, -0.25)),
    )


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"schema_version": 1, "default_model": None, "models": list(entries)}


def is_valid(entry: dict[str, Any]) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document(entry)))


def test_the_shipped_manifest_is_read_and_fits_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    manifest = load_manifest()
    assert manifest_path().name == "weights_manifest.json"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(manifest_path().read_text(encoding="utf-8")), SCHEMA)
    assert "zoobot_convnext_nano" in manifest.names


@pytest.mark.parametrize("entry", load_manifest().models, ids=lambda entry: entry.name)
def test_every_bundled_file_is_the_one_in_the_manifest(entry: ManifestEntry) -> None:
    if entry.bundled is None:
        assert entry.repo_id is not None
        return
    path = BUNDLED / entry.bundled
    assert verify_file(path, sha256=entry.sha256, size=entry.size, remembered=False) == entry.sha256
    assert path.stat().st_size <= 12e6, "the issue allows 12 MB per bundled file"


def test_zoobot_entries_take_pixels_as_they_are() -> None:
    entries = [e for e in load_manifest().models if e.kind == "timm"]
    assert entries
    for entry in entries:
        assert entry.repo_id == f"mwalmsley/zoobot-encoder-{entry.architecture}"
        assert entry.input.mean == (0.0, 0.0, 0.0)
        assert entry.input.std == (1.0, 1.0, 1.0)
        assert entry.input.img_size == 224
        assert entry.revision is not None
        assert entry.pinned is (entry.sha256 is not None)


def test_an_entry_survives_json_and_pickle() -> None:
    entry = full_entry()
    assert entry_from_dict(json.loads(json.dumps(entry_to_dict(entry)))) == entry
    assert pickle.loads(pickle.dumps(entry)) == entry
    assert is_valid(entry_to_dict(entry))


def test_the_schema_knows_the_same_fields_as_the_dataclasses() -> None:
    fields = {field.name for field in dataclasses.fields(ManifestEntry)}
    required = {
        f.name for f in dataclasses.fields(ManifestEntry) if f.default is dataclasses.MISSING
    }
    assert set(SCHEMA["$defs"]["entry"]["properties"]) == fields
    assert set(SCHEMA["$defs"]["entry"]["required"]) == required


def set_at(data: Any, path: str, value: Any) -> None:
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for key in parents:
        data = data[key]
    data[last] = value


# (field, wrong value, part of the message, whether JSON Schema can see it as well)
WRONG = [
    ("name", "Capital", "name: must be lower case", True),
    ("kind", "keras", "kind: 'keras' is not one of galmorph, timm", True),
    ("architecture", "", "architecture: must be a text", True),
    ("licence", None, "licence: must be a text", True),
    ("filename", "../demo.safetensors", "filename: must be a path inside", True),
    ("filename", "/demo.safetensors", "filename: must be a path inside", True),
    ("filename", "demo.bin", "filename: must be a .safetensors file", True),
    ("format", "onnx", "format: 'onnx' is not one of", True),
    ("repo_id", "demo", "repo_id: must be ORG/NAME", True),
    ("repo_id", "a/../b", "repo_id: must be ORG/NAME", True),
    ("revision", "main", "revision: must be 40 hex digits", True),
    ("revision", COMMIT.upper(), "revision: must be 40 hex digits", True),
    ("revision", None, "pinned: must be false where", True),
    ("sha256", "abc", "sha256: must be 64 lower-case hex digits", True),
    ("sha256", None, "pinned: must be false where", True),
    ("size", 0, "size: must be a whole number of bytes", True),
    ("size", 1.5, "size: must be a whole number of bytes", True),
    ("size", None, "size: must be known for galmorph weights", True),
    ("pinned", False, "pinned: must be true where", True),
    ("bundled", "sub/demo.safetensors", "bundled: must be the plain name", True),
    ("bundled", "demo.bin", "bundled: must be the plain name", True),
    ("embedding_width", 0, "embedding_width: must be a whole number above 0", True),
    ("paper", "", "paper: must be a text", True),
    ("input", None, "input: must be an object", True),
    ("input.field_of_view", None, "input.field_of_view: must be an object", True),
    ("input.bands", None, "input.bands: must be a list", True),
    ("heads", None, "heads: must be a list", True),
    ("input", [], "input: must be an object", True),
    ("input.bands", [], "input.bands: must be a list of 3 texts", True),
    ("input.bands", "rgb", "input.bands: must be a list", True),
    ("input.img_size", 84.0, "input.img_size: must be a whole number", False),
    ("input.img_size", True, "input.img_size: must be a whole number", True),
    ("input.interpolation", "nearest", "input.interpolation: 'nearest' is not one of", True),
    ("input.stretch", "", "input.stretch: must be a text", True),
    ("input.mean", [0.0], "input.mean: must be a list of 3 numbers", True),
    ("input.std", [1.0, 1.0, 0.0], "input.std[2]: must be a number above 0", True),
    ("input.field_of_view.value", -1, "input.field_of_view.value: must be a number above 0", True),
    ("input.field_of_view.unit", "pixel", "input.field_of_view.unit: 'pixel' is not", True),
    ("heads", {}, "heads: must be a list", True),
    ("heads.0.class_names", ["round"], "heads[0].class_names: must be 2 or more names", True),
    ("heads.0.class_names", ["a", "a"], "heads[0].class_names: must be 2 or more names", True),
    ("heads.0.input", 1, "heads[0].input: must be an object", True),
    ("metrics.0.value", "0.9", "metrics[0].value: must be a finite number", True),
    ("metrics.0.interval", [0.95], "metrics[0].interval: must be a list of two numbers", True),
    ("golden.embedding", [], "golden.embedding: must be a list of numbers", True),
    ("golden.seed", -1, "golden.seed: must be a whole number", True),
    ("golden.atol", 0, "golden.atol: must be a number above 0", True),
    ("colour", "blue", "colour: is not a known field", True),
    ("input.colour", "blue", "input.colour: is not a known field", True),
]


@pytest.mark.parametrize(("field", "value", "message", "in_schema"), WRONG)
def test_a_wrong_field_is_named(field: str, value: Any, message: str, in_schema: bool) -> None:
    data = entry_to_dict(full_entry())
    set_at(data, field, value)
    with pytest.raises(ManifestError) as caught:
        entry_from_dict(data)
    assert message in str(caught.value)
    assert str(data["name"]) in str(caught.value)
    assert is_valid(data) is not in_schema


@pytest.mark.parametrize("field", ["kind", "input", "pinned", "input.mean", "heads.0.name"])
def test_a_missing_field_is_named(field: str) -> None:
    data = entry_to_dict(full_entry())
    place: Any = data
    *parents, last = [int(p) if p.isdigit() else p for p in field.split(".")]
    for key in parents:
        place = place[key]
    del place[last]
    shown = field.replace(".0.", "[0].")
    with pytest.raises(
        ManifestError, match=rf"'demo', {shown.replace('[', chr(92) + '[')}: is missing"
    ):
        entry_from_dict(data)
    assert not is_valid(data)


def test_weights_that_can_be_had_from_nowhere_are_refused() -> None:
    nowhere = dataclasses.replace(full_entry(), repo_id=None, revision=None, bundled=None)
    with pytest.raises(ManifestError, match="bundled: must be the name .* where repo_id is null"):
        entry_from_dict(entry_to_dict(nowhere))


def test_bundled_weights_need_no_repository() -> None:
    entry = dataclasses.replace(full_entry(), repo_id=None, revision=None)
    assert entry.pinned
    assert is_valid(entry_to_dict(entry))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be the manifest of released models"),
        ('{"schema_version": 1}', "models: is missing"),
        (
            '{"schema_version": 2, "models": []}',
            "schema_version: must be 1, which this galmorph reads, not 2",
        ),
        ('{"models": []}', "schema_version: is missing"),
        ('{"schema_version": 1, "models": [], "more": 1}', "more: is not a known field"),
        ('{"schema_version": 1, "models": [3]}', "'?', must be an object that describes one model"),
        (
            '{"schema_version": 1, "models": [], "default_model": "x"}',
            "'x' is not among the models",
        ),
    ],
)
def test_a_broken_manifest_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.json: cannot be read"):
        load_manifest(tmp_path / "none.json")


def test_names_are_unique() -> None:
    with pytest.raises(ManifestError, match="'demo', name: is there more than once"):
        Manifest((full_entry(), full_entry()))


def test_look_up_by_name_and_by_repository() -> None:
    manifest = Manifest((full_entry(),), "demo")
    assert manifest.get("demo") is manifest.models[0]
    assert manifest.get("hf_hub:galaxies/demo") is manifest.models[0]
    with pytest.raises(UnknownModelError, match="no model 'dmeo'; known: demo"):
        manifest.get("dmeo")


def test_replace_keeps_the_order_and_adds_at_the_end() -> None:
    first, second = full_entry(), dataclasses.replace(full_entry(), name="second")
    manifest = Manifest((first, second))
    changed = dataclasses.replace(first, licence="MIT")
    assert replace_entry(manifest, changed).models == (changed, second)
    third = dataclasses.replace(first, name="third")
    assert replace_entry(manifest, third).names == ("demo", "second", "third")


def test_a_written_manifest_is_read_back(tmp_path: Path) -> None:
    manifest = Manifest((full_entry(),), "demo")
    path = tmp_path / "manifest.json"
    write_manifest(manifest, path)
    assert load_manifest(path) == manifest
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_a_failed_write_leaves_the_old_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(Manifest((full_entry(),)), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("galmorph.writing.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(Manifest(()), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]


def test_entries_are_frozen() -> None:
    entry = full_entry()
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.name = "other"  # type: ignore[misc]
    assert copy.deepcopy(entry) == entry


def test_the_wheel_reader_falls_back_to_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from galmorph.weights import manifest as module

    package, checkout = tmp_path / "package", tmp_path / "checkout"
    for folder in (package, checkout):
        folder.mkdir()
    monkeypatch.setattr(module, "_PACKAGE", package)
    monkeypatch.setattr(module, "_CHECKOUT", checkout)
    with pytest.raises(ManifestError, match=r"is neither in .*package nor in .*checkout"):
        module.manifest_path()
    (checkout / "weights_manifest.json").write_text("{}")
    assert module.manifest_path().parent == checkout
    (package / "weights_manifest.json").write_text("{}")
    assert module.manifest_path().parent == package
