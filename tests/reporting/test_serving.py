"""The live page: served to this machine alone, made anew where the run's files change."""

import html
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from transgan.reporting.serving import serve
from transgan.storage import MetricsLog, RunFolder

Get = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture
def folder(write_run: Any) -> RunFolder:
    found: RunFolder = write_run(records=[{"step": 1, "t: a -> b/loss_G/cycle": 1.0}])
    return found


@pytest.fixture
def get(folder: RunFolder) -> Iterator[Get]:
    """`get(path, host, method)`: the status, the headers and the body of an answer."""
    server = serve(folder, None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    port = int(server.server_address[1])

    def ask(path: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.putrequest(method, path, skip_host=host is not None)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.getheaders()), body

    ask.port = port  # type: ignore[attr-defined]
    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


def version(get: Get) -> str:
    return str(json.loads(get("/version")[2])["version"])


def test_the_page_follows_the_run(get: Get, folder: RunFolder) -> None:
    status, headers, page = get()
    assert status == 200 and "no-store" in headers["Cache-Control"] and "connect-src 'self'" in html.unescape(page)
    first = version(get)
    assert json.dumps(first)[1:-1] in page and version(get) == first
    with MetricsLog(folder.metrics) as log:
        log.write({"step": 77, "t: a -> b/loss_G/cycle": 0.5})
    assert version(get) != first
    assert "step 77 of 100" in get()[2]
    assert not folder.report.exists()  # the run's own process writes that


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "", "[::1].x:1"])
def test_a_page_of_another_name_gets_no_answer(get: Get, host: str) -> None:
    """The kind: a site whose name was changed to lead to this machine."""
    for path in ("/", "/version"):
        status, _, body = get(path, host.format(port=get.port))  # type: ignore[attr-defined]
        assert status == 403 and "zebra" not in body and "version" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost", "localhost:9", "[::1]:9"])
def test_this_machine_and_the_end_of_a_tunnel_get_the_page(get: Get, host: str) -> None:
    assert get("/", host.format(port=get.port))[0] == 200  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/recipe.toml", "/../recipe.toml", "/samples/", "/%2e%2e/", "//etc/passwd", "/?a=/x"])
def test_nothing_else_is_served(get: Get, path: str) -> None:
    status, _, body = get(path)
    assert (status == 200) == path.startswith("/?") and "root:" not in body
    assert get("/", method="POST")[0] == 501
    assert get("/", method="HEAD")[2] == ""
