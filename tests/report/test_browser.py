"""The page in a real browser: what plays, what is chosen, what is filtered, and how much room it takes.

Needs Playwright (`pip install .[browser]`) and a Chromium of the machine (`apt-get install chromium`, or
`playwright install chromium`).
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from deploy.comparison.run_pages import write_runs
from deploy.comparison.runs import compare_runs, read_runs
from deploy.report.page import PAGE_BYTES
from pages import rendered

pytest.importorskip("playwright", reason="Playwright is not installed: pip install .[browser]")

from playwright.sync_api import Browser, Error, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE, DESK = 390, 1280  # pixels
TALLEST = 4000  # pixels that a page takes at first
LOCAL = ("file:", "data:")
SCRIPT = "<script>document.title = 'taken over'</script>"

Opened = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    installed = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except Error as error:
            pytest.skip(f"no Chromium to start: {error.message.splitlines()[0]}")
        yield found
        found.close()


@pytest.fixture(scope="module")
def page_file(shipped_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips; the second is wrong, and its class has the name of a script."""
    first, second = shipped_run.report.clips
    classes = tuple(SCRIPT if name == second.label else name for name in shipped_run.report.network.classes)
    clips = (first, dataclasses.replace(second, label=SCRIPT, prediction=first.label))
    network = dataclasses.replace(shipped_run.report.network, classes=classes)
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(rendered(shipped_run, with_pictures=True, clips=clips, network=network), encoding="utf-8")
    return file


@pytest.fixture
def opened(browser: Browser, page_file: Path) -> Iterator[Opened]:
    """A page opened at a width; the test fails for whatever the console, or the network, had to say."""
    contexts, said = [], list[str]()

    def open_page(width: int = DESK, file: Path = page_file, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else said.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def height(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollHeight"))


def shown_frame(page: Page) -> str | None:
    return page.locator(".still:not([hidden])").get_attribute("data-step")


def test_the_film_plays_and_stops(opened: Opened) -> None:
    page = opened()
    before = shown_frame(page)
    page.wait_for_function(f"document.querySelector('.still:not([hidden])').dataset.step !== '{before}'")
    page.click('[data-do="play"]')
    assert page.locator('[data-do="play"]').text_content() == "Play"
    page.locator('#player input[type="range"]').fill("3")
    assert shown_frame(page) == "3"
    page.click('[data-do="forward"]')
    assert shown_frame(page) == "4"
    assert page.locator(".now").text_content() == "Shown: time step 4."


def test_it_stands_still_for_those_who_ask_for_it(opened: Opened) -> None:
    page = opened(reduced_motion="reduce")
    assert page.locator('[data-do="play"]').text_content() == "Play"
    assert shown_frame(page) == "1"


def test_another_clip_takes_the_place_of_the_first_and_gives_it_back(opened: Opened, shipped_run: Any) -> None:
    page, names = opened(), [clip.source for clip in shipped_run.report.clips]
    page.evaluate("document.querySelector('#clip details').open = true")
    first = page.locator("#spikes .raster").first.get_attribute("src")
    page.select_option("#clip-choice", "1")
    assert page.locator("#player .caption .name").text_content() == names[1]
    assert page.locator("#player .controls").is_visible()
    assert page.locator('#clip [data-shown="source"]').text_content() == names[1]
    assert page.locator("#spikes .strip img").count() == shipped_run.report.network.frames
    assert page.locator("#spikes .raster").first.get_attribute("src") != first
    page.click('[data-show="0"]')
    assert page.locator("#player .caption .name").text_content() == names[0]
    assert page.locator("#spikes .raster").first.get_attribute("src") == first
    assert page.locator("#clip-choice").input_value() == "0"


def test_the_filter_leaves_what_is_asked_for(opened: Opened, shipped_run: Any) -> None:
    page = opened()
    rows = page.locator("#clip-table tbody tr:visible")
    assert rows.count() == 2
    assert "wrong" in (rows.first.text_content() or ""), "wrong clips first"
    page.select_option('[data-by="right"]', "right")
    assert rows.count() == 1
    page.select_option('[data-by="right"]', "")
    page.select_option('[data-by="class"]', SCRIPT)
    assert rows.count() == 1
    page.fill('[data-by="text"]', shipped_run.report.clips[0].source)
    assert rows.count() == 0
    assert page.locator("#clip-filter output").text_content() == "0 of 2 shown"


def test_the_picture_of_the_network_answers(opened: Opened) -> None:
    page = opened()
    page.click('nav a[href="#network"]')
    figure = page.locator("#picture-lowered")
    figure.locator(".node").nth(3).click()
    numbers = figure.locator(".numbers")
    title = figure.locator(".node").nth(3).locator("title").text_content() or ""
    assert [numbers.locator("b").text_content()] == title.splitlines()[:1]
    assert numbers.locator("dt").count() == len(title.splitlines()) - 1
    whole = figure.locator(".map").get_attribute("viewBox")
    figure.locator('[data-zoom="1.4"]').click()
    assert figure.locator(".map").get_attribute("viewBox") != whole
    page.click('[data-picture="graph"]')
    assert not figure.is_visible()
    with page.expect_download() as download:
        page.click("#picture-graph [data-save]")
    assert download.value.suggested_filename == "graph.svg"
    drawing = ElementTree.parse(download.value.path()).getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(drawing.findall("{*}g")) == page.locator("#picture-graph .node").count()


def test_no_name_is_taken_for_a_script(opened: Opened) -> None:
    assert opened().title().startswith("Deployment report")


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_any_screen(opened: Opened, width: int, scheme: str, page_file: Path) -> None:
    assert_fits(opened(width, color_scheme=scheme), width)
    assert page_file.stat().st_size <= PAGE_BYTES


def test_one_clip_of_a_foreign_network_fits_too(opened: Opened, foreign_run: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(rendered(foreign_run), encoding="utf-8")
    page = opened(PHONE, file)
    assert height(page) <= TALLEST
    assert page.locator("#clip-choice").count() == 0


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_finished_runs_side_by_side_fit_any_screen(
    opened: Opened, width: int, scheme: str, shipped_run: Any, foreign_run: Any, tmp_path: Path
) -> None:
    runs = [*([shipped_run] * 4), *([foreign_run] * 4)]
    for number, run in enumerate(runs):
        (tmp_path / str(number)).mkdir()
        report = run.report
        accuracy = report.accuracy and dataclasses.replace(report.accuracy, deployed_top1=number / len(runs))
        network = dataclasses.replace(report.network, neurons=report.network.neurons + number)
        dataclasses.replace(report, accuracy=accuracy, network=network).write(tmp_path / str(number) / "report.json")
    file = tmp_path / "comparison.html"
    write_runs(compare_runs(read_runs([tmp_path / str(number) for number in range(len(runs))])), file)
    page = opened(width, file, color_scheme=scheme)
    assert_fits(page, width)
    assert page.locator("#figures td").first.is_visible(), "all is unfolded now"


def assert_fits(page: Page, width: int) -> None:
    """At first it is not long; unfolded it is still no wider than the screen."""
    assert height(page) <= TALLEST
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.evaluate("document.querySelectorAll('details').forEach((folded) => (folded.open = true))")


def test_links_and_paper_unfold(opened: Opened) -> None:
    page = opened()
    table = page.locator("#ledger")
    assert not table.is_visible()
    page.click('nav a[href="#energy"]')
    table.wait_for(state="visible")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#rates table").is_visible()
    assert shown_frame(page) == page.locator(".still").last.get_attribute("data-step"), "paper shows the whole clip"
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not page.locator("#rates table").is_visible()
    assert table.is_visible(), "as it was before"
