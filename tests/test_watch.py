"""A film is watched while it is made: in a real browser, and by clients that mean no good."""

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2 as httpx
import pytest
import websockets

from browser import Page, find_chromium
from memflow_cli.live.channel import Channel
from memflow_cli.live.server import MAX_MESSAGE_BYTES, MAX_MESSAGES_A_SECOND, LiveServer

STORY = Path(__file__).parent.parent / "storyboards" / "quickstart.yaml"


@pytest.fixture
def served():
    """A channel with two messages, its server, and what viewers have asked for."""
    channel, asked = Channel(), []
    channel.tell(type="hello", title="Fox")
    channel.show(1.5, b"video")
    with LiveServer(channel, asked.append) as server:
        yield channel, server, asked


def talk(server, *messages, origin=None, count=2):
    """What a viewer with this Origin hears first, after sending `messages`."""

    async def run():
        address = server.address.replace("http", "ws", 1) + "socket"
        async with websockets.connect(address, origin=origin or f"http://127.0.0.1:{server.port}") as viewer:
            for message in messages:
                await viewer.send(message)
            return [await asyncio.wait_for(viewer.recv(), 60) for _ in range(count)]

    return asyncio.run(run())


def test_whoever_joins_hears_everything_from_the_start(served):
    channel, server, _ = served
    for _ in range(2):
        hello, video = talk(server)
        assert json.loads(hello) == {"type": "hello", "title": "Fox"}
        assert video == b"\x00\x00\x00\x00\x00\x00\xf8?video"
    channel.tell(type="chunk")
    assert json.loads(talk(server, count=3)[2]) == {"type": "chunk"}


def test_what_a_viewer_asks_for_is_handed_over_and_nothing_else_is(served):
    _, server, asked = served
    talk(server, "no JSON", "[1]", json.dumps({"type": "prompt", "text": "<script>"}))
    deadline = time.monotonic() + 60
    while not asked and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked == [{"type": "prompt", "text": "<script>"}]


@pytest.mark.parametrize("path", ["", "page.js", "page.css", "socket", "../server.py", "server.py", "page.html/x"])
def test_without_the_token_there_is_nothing(served, path):
    _, server, _ = served
    assert httpx.get(f"http://127.0.0.1:{server.port}/{path}").status_code in (403, 404)
    assert httpx.get(f"http://127.0.0.1:{server.port}/wrong-token/{path}").status_code in (403, 404)


def test_another_host_name_and_another_page_are_refused(served):
    """DNS rebinding gives a stranger's page our address, but not our name; its Origin tells on it too."""
    _, server, _ = served
    assert httpx.get(server.address).status_code == 200
    assert httpx.get(server.address, headers={"Host": f"evil.example:{server.port}"}).status_code == 403
    assert httpx.get(server.address, headers={"Origin": "http://evil.example"}).status_code == 403
    with pytest.raises(websockets.exceptions.InvalidStatus):
        talk(server, origin="http://evil.example")


def test_the_page_asks_for_nothing_from_elsewhere_and_may_not(served):
    _, server, _ = served
    answer = httpx.get(server.address)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"https?:", answer.text)


def test_a_message_of_a_megabyte_ends_its_sender_only(served):
    _, server, asked = served
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        talk(server, "x" * (MAX_MESSAGE_BYTES + 1), count=3)
    assert len(talk(server)) == 2 and not asked


def test_a_flood_waits_in_its_own_socket(served):
    """However fast it comes and however slow the machine is, so many are heard in a second; others are served meanwhile."""
    _, server, asked = served
    started = time.monotonic()

    async def flood():
        address = server.address.replace("http", "ws", 1) + "socket"
        async with websockets.connect(address, origin=f"http://127.0.0.1:{server.port}") as viewer:
            for number in range(200):
                await viewer.send(json.dumps({"type": "prompt", "text": str(number)}))
            await asyncio.to_thread(talk, server)

    asyncio.run(flood())
    heard = len(asked)
    assert heard <= (MAX_MESSAGES_A_SECOND + 1) * (time.monotonic() - started + 1)
    assert [content["text"] for content in asked[:heard]] == [str(number) for number in range(heard)]


@pytest.mark.parametrize(
    ("host", "called", "is_served"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "localhost", True),
        ("0.0.0.0", socket.gethostname(), True),
        ("0.0.0.0", "192.0.2.7", True),
        ("0.0.0.0", "[2001:db8::7]", True),
        ("0.0.0.0", "evil.example", False),
        ("0.0.0.0", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "192.0.2.7", False),
        ("127.0.0.1", "localhost", True),
    ],
)
def test_where_all_addresses_are_listened_on_each_may_be_named_and_no_strangers_name(host, called, is_served):
    """With --host 0.0.0.0 nobody was served: a browser names the machine, never that address."""
    with LiveServer(Channel(), host=host) as server:
        path = server.address.split("/", 3)[3]
        headers = {"Host": f"{called}:{server.port}", "Origin": f"http://{called}:{server.port}"}
        answer = httpx.get(f"http://127.0.0.1:{server.port}/{path}", headers=headers)
        assert (answer.status_code == 200) == is_served
        assert httpx.get(f"http://127.0.0.1:{server.port}/{path}", headers={"Host": called}).status_code == 403


def test_loopback_only(served):
    _, server, _ = served
    assert server.address.startswith("http://127.0.0.1:")
    assert len(server.address.rstrip("/").rsplit("/", 1)[1]) >= 30


@pytest.mark.slow
def test_a_film_plays_in_a_browser_while_it_is_made(tmp_path):
    """The command as a user gives it, the page as a user sees it: it plays, names the segments, shows what was shown."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on the path: apt-get install chromium")
    command = [sys.executable, "-m", "memflow_cli", "generate", str(STORY), "-o", str(tmp_path / "film.mp4")]
    made = subprocess.Popen(
        [*command, "--size", "224x128", "--watch", "--no-browser"], stderr=subprocess.PIPE, text=True
    )
    page = Page(chromium, tmp_path / "profile")
    try:
        address = next(found[1] for line in made.stderr if (found := re.search(r"watch it at (\S+)", line)))
        page.open(address, 1280)
        page.wait_for("document.getElementById('film').currentTime > 1", 120)
        page.wait_for("document.querySelectorAll('#strip li').length > 4", 120)
        assert page.run("document.querySelectorAll('#segments li').length") == 6
        assert page.run("document.getElementById('title').textContent") == "The fox comes back"
        assert not page.run("document.getElementById('say').checkVisibility()")
        for line in made.stderr:
            if "stitching" in line:
                break
        page.wait_for("document.getElementById('state').textContent.includes('finished')", 60)
        assert made.wait(60) == 0
        assert not page.errors and all(url.startswith((address, "blob:", "data:")) for url in page.requests)
    finally:
        page.close()
        made.kill()
