"""Process of `fgsbir serve`: start, many clients, shutdown."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from fgsbir.cli import main
from fgsbir.data import synthetic
from tests.support.serving import Server, encoded, serving, small_gallery
from tests.support.subprocesses import run_python
from tests.support.waiting import wait_until

pytest.importorskip("fastapi")
from fgsbir.serve.server import bind

httpx = pytest.importorskip("httpx2")

SKETCHES = [encoded(sketch) for sketch in synthetic("shoes", 8, "test").sketches]
CROWD = 64
TIMEOUT = 60  # seconds; on a busy machine the first search takes more than the client's usual 5


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    small_gallery(folder)
    return folder / "shoes.gallery"


def exchange(port: int, request: bytes) -> bytes:
    """What comes back for bytes sent as they are."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_ends_cleanly_when_interrupted_and_frees_its_port(gallery: Path) -> None:
    with serving(gallery) as server, httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        assert client.get("/healthz").json()["status"] == "ok"  # and the connection stays open
        assert client.post("/api/search", content=SKETCHES[0]).status_code == 200
        port = server.port
        assert server.stop(signal.SIGINT) == (0, "")
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert len(list((gallery / "thumbnails").glob("*/*.jpg"))) > 0


def test_bears_raw_requests_and_finishes_what_is_under_way_when_terminated(gallery: Path) -> None:
    with serving(gallery) as server:
        for target in (
            "/static/../../../../etc/passwd",
            "/photos/../../etc/passwd",
            "//etc/passwd",
        ):
            answer = exchange(server.port, request_head("GET", target, "Connection: close"))
            assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422")), answer
            assert b"root:" not in answer
        assert b" 400 " in exchange(server.port, b"nonsense\r\n\r\n")
        no_host = exchange(server.port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b" 400 " in no_host

        body = SKETCHES[0]
        expecting = (f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close")
        with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as connection:
            connection.sendall(request_head("POST", "/api/search", *expecting))
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")  # it waits for the sketch
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["matches"]) == 10
        code, errors = server.wait()
        assert code == 0
        assert "Traceback" not in errors


@pytest.mark.slow
def test_a_sketch_that_does_not_arrive_is_not_waited_for(gallery: Path) -> None:
    with serving(gallery) as server:
        begun = request_head("POST", "/api/search", "Content-Length: 99") + b"x"
        assert b" 408 " in exchange(server.port, begun)


IMPATIENT = "from fgsbir.serve import server as s; s.SECONDS_OF_SILENCE, s.MAX_CONNECTIONS = 3, 8"
WHOLE = b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"


def health(url: str) -> int:
    return httpx.get(f"{url}/healthz", timeout=TIMEOUT).status_code


@pytest.mark.slow
def test_silent_clients_do_not_keep_others_out(gallery: Path) -> None:
    with serving(gallery, prelude=IMPATIENT) as server:
        for sent in (b"", WHOLE[:20], WHOLE + WHOLE[:20]):
            with ExitStack() as clients:
                for _ in range(7):  # the one that asks is the eighth
                    client = socket.create_connection(("127.0.0.1", server.port))
                    clients.enter_context(client).sendall(sent)
                assert health(server.url) == 503
                wait_until(lambda: health(server.url) == 200)


@pytest.mark.slow
def test_a_client_that_takes_no_answer_is_left(gallery: Path) -> None:
    with serving(gallery, prelude=IMPATIENT) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(400 * WHOLE)  # eight megabytes of answers
        deadline = time.monotonic() + 30
        with suppress(ConnectionError):
            while True:
                client.sendall(b"G")
                assert time.monotonic() < deadline
                time.sleep(0.2)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_client_is_whom_it_says_only_behind_a_trusted_proxy(gallery: Path, trusted: bool) -> None:
    options = ("--trusted-proxy", "127.0.0.1") if trusted else ()
    with (
        serving(gallery, "--searches-per-second", "0.1", *options) as server,
        httpx.Client(base_url=server.url, timeout=TIMEOUT) as client,
    ):
        for i in range(60):
            headers = {"X-Forwarded-For": f"10.0.0.{i}", "Forwarded": f"for=10.0.0.{i}"}
            if client.post("/api/search", headers=headers).status_code == 429:
                break
        assert (i == 59) == trusted


def request_head(method: str, target: str, *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


def crowd(server: Server, rounds: int) -> float:
    """64 clients, each of its own address, ask at once; returns searches a second."""

    def visit(number: int) -> None:
        transport = httpx.HTTPTransport(local_address=f"127.0.1.{number + 1}")
        with httpx.Client(base_url=server.url, transport=transport, timeout=TIMEOUT) as client:
            for i in range(rounds):
                body = SKETCHES[(number + i) % len(SKETCHES)]
                answer = client.post("/api/search?attribute_weight=0.1", content=body)
                assert answer.status_code == 200, answer.text
                photo = client.get(answer.json()["matches"][i % 10]["photo"])
                assert photo.status_code == 200

    start = time.monotonic()
    with ThreadPoolExecutor(CROWD) as pool:
        list(pool.map(visit, range(CROWD)))
    return CROWD * rounds / (time.monotonic() - start)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs 127.0.0.0/8 and /proc")
def test_64_clients_at_once_are_served_and_memory_stays_flat(gallery: Path) -> None:
    with serving(gallery) as server:
        crowd(server, 3)  # threads and their buffers come into being
        before = server.memory()
        crowd(server, 8)
        grown = server.memory() - before
        assert grown < 16 << 20, f"{grown / 2**20:.1f} MiB more"
        assert server.stop() == (0, "")


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", None, "Address already in use"),
        ("192.0.2.1", 0, "Cannot assign requested address"),
        ("no.such.host.invalid", 0, ""),
        ("127.0.0.1", 70000, ""),
    ],
)
def test_an_address_that_cannot_be_had(host: str, port: int | None, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if port is None else port
        with pytest.raises(OSError, match=f"^cannot listen on {host} port {port}: {reason}"):
            bind(host, port)


def test_an_address_that_a_browser_can_open_is_announced(gallery: Path) -> None:
    with serving(gallery, "--host", "0.0.0.0") as server:
        assert server.url.startswith("http://localhost:")
        assert health(f"http://127.0.0.2:{server.port}") == 200


def test_without_the_extra_it_says_what_to_install(gallery: Path) -> None:
    code = f"""
        import json, sys
        sys.modules["fastapi"] = None
        from contextlib import redirect_stderr
        from io import StringIO
        from fgsbir.cli import main
        with redirect_stderr(StringIO()) as errors:
            code = main(["serve", {str(gallery)!r}])
        print(json.dumps([code, errors.getvalue()]))
    """
    code, errors = run_python(code)
    assert code == 2
    assert errors == (
        "fgsbir: error: fastapi is missing; the page needs more than training does: "
        "pip install 'fgsbir-ext[demo]'\n"
    )


def test_help_carries_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    assert "Example: fgsbir serve" in capsys.readouterr().out
