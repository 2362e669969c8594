"""report.json: written from its type, read back as the same, described by a schema that holds, refused in one line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.report.keys.loihi2 import BoardBatch, BoardClip, BoardReport
from deploy.report.keys.network import MappedPart
from deploy.report.keys.report import Estimate, Report
from deploy.report.keys.run import ReferenceLayer
from deploy.report.keys.stored import as_json
from deploy.report.record import record
from deploy.report.schema import files, schema
from pages import rendered
from svformer.common.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"

# What DESIGN.md promises to others who build on report.json.
TOP = {"schema", "clips", "parity", "layers", "totals", "energy", "fit", "timing"}
PROMISED = {
    "clips": {"source", "label", "prediction", "logits", "steps", "seconds"},
    "layers": {"name", "kind", "neurons", "spikes", "rate", "synaptic_ops", "macs", "neuron_updates"},
    "parity.integer_vs_lava": {"bit_exact", "layers", "spikes_compared"},
    "parity.float_vs_integer": {"top1_agreement", "spike_match", "logit_rmse"},
    "energy": {"models", "paper_mj_per_video", "ratio_to_paper"},
    "energy.models": {"mj_per_video", "breakdown"},
    "timing": {"build_s", "run_s", "peak_rss_mb"},
}

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.fixture
def run_file(foreign_run: Any, tmp_path: Path) -> Path:
    foreign_run.report.write(tmp_path / "report.json")
    return tmp_path / "report.json"


def test_the_keys_that_others_build_on_are_there(foreign_run: Any) -> None:
    plain = json.loads(as_json(foreign_run.report.plain()))
    assert plain.keys() >= TOP
    for place, keys in PROMISED.items():
        value = plain
        for name in place.split("."):
            value = value[name]
        if isinstance(value, list):
            value = value[0]
        elif place == "energy.models":
            value = value["cmos45_fp32"]
        assert value.keys() >= keys, place


@pytest.mark.parametrize("name", ["foreign_run", "integrating_run", "shipped_run"])
def test_what_is_read_is_what_was_written(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    report = request.getfixturevalue(name).report
    report.write(tmp_path / "report.json")
    assert Report.read(tmp_path / "report.json") == report
    text = (tmp_path / "report.json").read_text()
    Report.read(tmp_path / "report.json").write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


@pytest.mark.parametrize("name", ["foreign_run", "integrating_run", "shipped_run"])
def test_reports_of_runs_follow_the_stored_schema(name: str, request: pytest.FixtureRequest) -> None:
    stored = json.loads((DOCS / "report.schema.json").read_text())
    plain = json.loads(as_json(request.getfixturevalue(name).report.plain()))
    jsonschema.validate(plain, stored)
    del plain["layers"][0]["spikes"]
    with pytest.raises(jsonschema.ValidationError, match="'spikes' is a required property"):
        jsonschema.validate(plain, stored)


def test_what_is_stored_in_docs_is_what_the_types_give() -> None:
    """`python -m deploy.report.schema` writes them."""
    for name, content in files().items():
        assert (DOCS / name).read_text("utf-8") == content, name


def test_every_key_has_a_meaning() -> None:
    for report in (Report, Estimate, BoardReport):
        for name, described in schema(report)["$defs"].items():
            missing = [key for key, value in described["properties"].items() if not value.get("description")]
            assert not missing, name


def test_optional_keys_are_left_out_and_never_null(foreign_run: Any, shipped_run: Any) -> None:
    other, ours = foreign_run.report.plain(), shipped_run.report.plain()
    assert "reference" not in other
    assert other["accuracy"].keys() == {"videos", "views", "note"}
    assert ours["accuracy"].keys() == {
        "videos",
        "views",
        "checked_videos",
        "float_top1",
        "integer_top1",
        "deployed_top1",
    }
    stored = json.loads((DOCS / "report.schema.json").read_text())
    assert "reference" not in stored["required"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(as_json(other)), "reference": None}, stored)


def test_a_reference_is_part_of_the_report(foreign_run: Any) -> None:
    layer = ReferenceLayer(
        name="hidden",
        rate=0.2,
        compared=100,
        float_match=1.0,
        float_first_difference=None,
        deployed_match=0.99,
        deployed_first_difference=(0, 3, 1),
    )
    found = {
        "file": "other.h5",
        "layers": [vars(layer) | {"deployed_first_difference": [0, 3, 1]}],
        "unmatched": ["deep"],
    }
    report = record(foreign_run.deployment, foreign_run.tally, backend="integer", reference=found)
    assert report.reference is not None
    assert report.reference.layers == (layer,)
    assert json.loads(as_json(report.plain()))["reference"] == found
    page = rendered(dataclasses.replace(foreign_run, report=report))
    assert "Beside another simulator" in page
    assert "No layer of the network is called deep." in page
    assert "Beside another simulator" not in rendered(foreign_run)


def test_an_estimate_is_a_report_without_a_run(foreign_run: Any, tmp_path: Path) -> None:
    report = foreign_run.report
    names = Estimate.__dataclass_fields__
    known = Estimate(**{name: getattr(report, name) for name in names})
    known.write(tmp_path / "report.json")
    assert Estimate.read(tmp_path / "report.json") == known
    assert list(json.loads((tmp_path / "report.json").read_text())) == list(names)
    with pytest.raises(InputError, match=r"report\.json: not a report of this version \(backend: Field required"):
        Report.read(tmp_path / "report.json")


def test_a_board_report_is_read_back(tmp_path: Path) -> None:
    report = BoardReport(
        mapping=(MappedPart(where="a", what="LIF", process="LIFReset", microcode="", neurons=4),),
        clips=(BoardClip(source="a.npy", prediction=1, logits=(0.0, 2.5)),),
        messages_compared=40,
        runs=(BoardBatch(clips=1, time_steps=22, profiler={"Loihi2Power": {"total_power": (0.25, 0.75)}}),),
    )
    report.write(tmp_path / "loihi2.json")
    assert BoardReport.read(tmp_path / "loihi2.json") == report
    stored = json.loads((DOCS / "loihi2.schema.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "loihi2.json").read_text()), stored)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.update(schema="svformer-run/2"), "schema: Input should be 'svformer-run/1'"),
        (lambda values: values.pop("totals"), "totals: Field required"),
        (lambda values: values["totals"].pop("spikes"), "missing: totals.spikes"),
        (lambda values: values["layers"][1].update(kind="neurons"), "layers.1.kind: Input should be 'input'"),
        (lambda values: values["network"].update(frames="20"), "network.frames: Input should be a valid integer"),
        (lambda values: values.update(more=1), "more: Unexpected keyword argument"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(change: Any, said: str, run_file: Path) -> None:
    """A count that is missing is not taken for 0."""
    values = json.loads(run_file.read_text())
    change(values)
    run_file.write_text(json.dumps(values))
    with pytest.raises(InputError) as refused:
        Report.read(run_file)
    line = str(refused.value)
    assert line.startswith(f"{run_file}: not a report of this version ({said}")
    assert line.endswith("; give a report.json that run_lava.py wrote (docs/report.md)")
    assert "\n" not in line


def test_no_file_and_no_json_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.json: cannot be read \(No such file or directory\); give"):
        Report.read(tmp_path / "nothing.json")
    (tmp_path / "clip.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match=r"clip\.npy: not a report of this version \(file: Invalid JSON"):
        Report.read(tmp_path / "clip.npy")


@given(report=st.dictionaries(st.text(), VALUES))
def test_nothing_is_changed_by_how_it_is_written(report: dict[str, Any]) -> None:
    assert json.loads(as_json(report)) == report


def test_a_list_of_numbers_is_one_line() -> None:
    text = as_json({"rates": [1, -2.5, 3e-9], "names": ["a", "[\n1\n]"], "pairs": [[1, 2], [3]]})
    assert text.splitlines() == [
        "{",
        '  "rates": [1, -2.5, 3e-09],',
        '  "names": [',
        '    "a",',
        r'    "[\n1\n]"',
        "  ],",
        '  "pairs": [',
        "    [1, 2],",
        "    [3]",
        "  ]",
        "}",
    ]


def test_what_is_no_number_is_refused(foreign_run: Any, tmp_path: Path) -> None:
    """NaN is no JSON, and a report that holds one is wrong."""
    broken = dataclasses.replace(
        foreign_run.report, timing=dataclasses.replace(foreign_run.report.timing, run_s=float("nan"))
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.write(tmp_path / "report.json")
    assert not list(tmp_path.iterdir())
