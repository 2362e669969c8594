"""report.html of an estimate: what the network takes and where it fits, before anything runs."""

from pathlib import Path

from deploy.report import kinds, placed_rows, rows
from deploy.report.fixed_point import CAPTION, HEADS, fixed_point_rows
from deploy.report.keys.report import Estimate
from deploy.report.page import deployment_parts, environment
from deploy.report.scripts import script
from svformer.common.files import atomic_path


def write_estimate_page(report: Estimate, path: Path) -> None:
    """Write the page of an estimate: one file, which needs no network and no script."""
    html = estimate_page(report)
    with atomic_path(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def estimate_page(report: Estimate) -> str:
    """The page as text."""
    return (
        environment()
        .get_template("estimate.html")
        .render(
            **vars(report),
            **deployment_parts(report),
            report=report,
            rows=rows,
            kinds=kinds,
            layers=report.plan.layers,
            timing=None,
            placed_lines=list(placed_rows.placed_lines(report)),
            fixed_point_heads=HEADS,
            fixed_point_rows=fixed_point_rows(report.fixed_point),
            fixed_point_caption=CAPTION,
            script=script("page.js"),
        )
    )
