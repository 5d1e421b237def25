"""nginx as a reverse proxy in front of a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/errors;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


@contextmanager
def nginx(locations: str, folder: Path) -> Iterator[str]:
    """The address of an nginx with these locations; skips the test where there is none.

    What is not said in them is as nginx comes: it puts the address of the server into the Host
    header.
    """
    if NGINX is None:
        pytest.skip("no nginx: apt-get install nginx-light")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, locations=locations))
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        [NGINX, "-e", folder / "errors", "-c", file, *user], stderr=subprocess.PIPE
    )

    def answers() -> bool:
        assert process.poll() is None, (folder / "errors").read_text()
        with socket.socket() as trying:
            return trying.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)
