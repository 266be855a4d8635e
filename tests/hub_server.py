"""A server on loopback that speaks the part of the hub's protocol that downloads need, and can break down."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """`files`: (repository, path) -> content. `break_at`: a path and the bytes of it after which the server gives up."""

    daemon_threads = True

    def __init__(self, files: dict[tuple[str, str], bytes], token: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.token = token
        self.break_at: tuple[str, int] | None = None
        self.is_down = False
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, range

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of each request for this file's content."""
        return [asked for method, url, asked in self.requests if method == "GET" and url.endswith(path)]


class Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, with_content: bool) -> None:
        server = self.server
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        content = server.files.get((match[1], match[3])) if match else None
        if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            return self._refuse(401, "RepoNotFound")
        if server.is_down:
            return self._refuse(503, None)
        if match is None or content is None:
            return self._refuse(404, "EntryNotFound" if match else "RepoNotFound")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if not with_content:
            return None
        if server.break_at is not None and server.break_at[0] == match[3]:
            self.wfile.write(content[start : server.break_at[1]])
            self.wfile.flush()
            server.is_down = True
            self.connection.close()
            return None
        self.wfile.write(content[start:])
        return None

    def _refuse(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(files: dict[tuple[str, str], bytes], token: str | None = None) -> Iterator[HubServer]:
    server = HubServer(files, token)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
