"""The memory page in a real browser: opens from disk, asks for nothing else, and follows clicks and keys."""

import os
from pathlib import Path

import pytest

from browser import Page, find_chromium
from memflow_cli.report import inspect, write_report
from tiny_model import make, story

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="no Chromium here; `make browser` installs Debian's"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    assert CHROMIUM, "where CI is set the page is tested: `make browser` installs Debian's Chromium"
    page = Page(str(CHROMIUM), tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("a film's & folder #1")
    result = make(folder, story("a fox </script><b>", "a wood", "the fox again", seconds=3, title="Fox & “friends”"))
    write_report(inspect(result.path), folder / "film.inspect")
    return folder / "film.inspect" / "index.html"


def state(page: Page) -> tuple[str, str]:
    return page.run("[document.getElementById('number').textContent, document.getElementById('prompt').textContent]")


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_clicks_and_keys_change_the_segment(browser, report, width, scheme):
    browser.errors.clear()
    browser.requests.clear()
    browser.open(report.as_uri(), width, scheme=scheme)
    assert browser.run("document.title") == "Fox & “friends” · memory"
    assert state(browser)[0] == "Segment 3 of 3"  # where something comes back
    assert browser.run("document.getElementById('told').textContent").startswith("Memory went back ")
    assert browser.run("location.hash") == "#3"
    browser.press("Home")
    assert state(browser) == ["Segment 1 of 3", "a fox </script><b>"] and browser.run("location.hash") == "#1"
    browser.press("ArrowRight")
    assert state(browser) == ["Segment 2 of 3", "a wood"]
    browser.press("ArrowRight")
    browser.press("ArrowRight")  # there is no fourth
    assert state(browser)[0] == "Segment 3 of 3"
    assert browser.run("document.querySelectorAll('#recalled li').length") >= 3
    assert browser.run("[...document.querySelectorAll('#recalled img')].every(i => i.complete && i.naturalWidth > 0)")
    browser.press("ArrowLeft")
    assert state(browser)[0] == "Segment 2 of 3"
    browser.click("#strip li:nth-child(1) button")
    assert state(browser)[0] == "Segment 1 of 3"
    browser.press("End")
    browser.press("Home")
    assert state(browser)[0] == "Segment 1 of 3"
    assert browser.run("document.documentElement.scrollWidth") <= width  # nothing sticks out
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 20, 18)") == (scheme == "dark")
    browser.press("t")
    assert browser.run("getComputedStyle(document.body).backgroundColor") != background
    assert browser.errors == []
    film = report.parent.parent / "film.mp4"
    assert {address for address in browser.requests if not address.startswith("data:")} == {
        report.as_uri(),
        film.as_uri(),
    }


def test_a_number_in_the_address_is_a_segment(browser, report):
    """#2 chose the segment, but the film stood at its start."""
    at = "Math.abs(document.getElementById('film').currentTime - {}) < 0.01"
    browser.open("about:blank", 1280)
    browser.open(report.as_uri() + "#2", 1280)
    browser.wait_for("document.getElementById('film').readyState >= 1")
    browser.wait_for(at.format(3))
    assert state(browser) == ["Segment 2 of 3", "a wood"]
    browser.run("location.hash = '#3'")
    browser.wait_for(at.format(6))
    assert state(browser)[0] == "Segment 3 of 3"
    browser.click("#strip li:nth-child(1) button")
    assert browser.run("location.hash") == "#1"


def test_space_plays_after_a_click(browser, report):
    """The button that was clicked took the space bar for itself."""
    browser.open(report.as_uri(), 1280)
    browser.wait_for("document.getElementById('film').readyState >= 2")
    browser.click("#strip li:nth-child(2) button")
    browser.press(" ", " ")
    browser.wait_for("!document.getElementById('film').paused && document.getElementById('film').currentTime > 3.1")
    browser.press(" ", " ")
    browser.wait_for("document.getElementById('film').paused")
    assert state(browser)[0] == "Segment 2 of 3"


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_pictures_are_whole_and_bars_are_equal(browser, report, width):
    browser.open(report.as_uri(), width)
    bars = browser.run(
        "[...document.querySelectorAll('#recalled .bar')].map(b => Math.round(b.getBoundingClientRect().width))"
    )
    assert len(bars) >= 3 and len(set(bars)) == 1 and bars[0] > 80
    fits = "[...document.querySelectorAll('#strip img')].map(i => getComputedStyle(i).objectFit)"
    assert set(browser.run(fits)) == {"contain"}
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_the_film_plays_and_goes_where_it_is_sent(browser, report):
    browser.open(report.as_uri(), 1280)
    browser.wait_for("document.getElementById('film').readyState >= 1")
    assert browser.run("document.getElementById('film').duration") == pytest.approx(9)
    browser.press("End")
    browser.wait_for("Math.abs(document.getElementById('film').currentTime - 6) < 0.01")  # and it opened there
    seconds = browser.run("document.querySelector('#recalled .time').textContent")
    browser.click("#recalled li button")
    browser.wait_for(f"Math.abs(document.getElementById('film').currentTime - {float(seconds.split(':')[1])}) < 0.01")
    assert state(browser)[0] == "Segment 3 of 3"  # looking at a recalled moment does not leave the segment


def test_the_map_tells_what_lies_under_the_pointer(browser, report):
    browser.open(report.as_uri(), 1280)
    browser.run("document.getElementById('chart').scrollIntoView({block: 'center', behavior: 'instant'})")
    place = """(() => {
        const box = document.getElementById('over').getBoundingClientRect();
        const data = JSON.parse(document.getElementById('data').textContent);
        const chunk = data.chunks.bank.length - 1, frame = data.chunks.bank[chunk][0][0];
        const across = (chunk + 0.5) / data.numChunks, down = (frame + 0.5) / (data.numChunks * data.chunk);
        return [box.x + 52 + (box.width - 62) * across, box.y + 64 + (box.height - 98) * down];
    })()"""
    x, y = browser.run(place)
    browser.mouse(x, y)
    assert "recalls" in browser.run("document.getElementById('tip-text').textContent")
    browser.mouse(x, y, click=True)
    assert state(browser)[0] == "Segment 3 of 3"


def test_a_page_without_its_film_still_shows_pictures(browser, report, tmp_path):
    """The folder was sent to somebody without the film."""
    (tmp_path / "index.html").write_bytes(report.read_bytes())
    browser.errors.clear()
    browser.open((tmp_path / "index.html").as_uri(), 1280)
    browser.wait_for("document.getElementById('film').hidden && !document.getElementById('still').hidden")
    assert browser.run("document.getElementById('still').naturalWidth") > 0
