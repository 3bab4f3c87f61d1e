"""Stores on loopback that misbehave on demand: a web server of a folder, and a proxy before another server."""

import http.client
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """What a running server knows. source: a folder, or the port of the server behind.

    faults: by file name, one for each request to come: a status, or cut, short, garbage, hang.
    always: by file name, a fault of every request. refuses: the status of every answer to a PUT; 0 for none.
    log: the file names asked for, in order. seconds: before each answer. bytes_per_second: of a body; 0 for no limit.
    """

    source: Path | int
    port: int = 0
    faults: dict[str, list[int | str]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, int | str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    refuses: int = 0
    seconds: float = 0.0
    bytes_per_second: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, suffix: str = ".tar") -> Counter[str]:
        return Counter(name for name in self.log if name.endswith(suffix))


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body go out in two pieces, and the second would wait 40 ms for an answer to the first.
    disable_nagle_algorithm = True
    web: Web

    def do_GET(self) -> None:
        name = urlsplit(self.path).path.rpartition("/")[2]
        if self.command == "GET":
            self.web.log.append(name)
        fault = self.web.always.get(name)
        if self.command == "PUT" and self.web.refuses:
            fault = self.web.refuses
        if self.command == "GET" and self.web.faults[name]:
            fault = self.web.faults[name].pop(0)
        if self.web.over.wait(3600 if fault == "hang" else self.web.seconds):
            return
        status, headers, body = self.behind() if isinstance(self.web.source, int) else self.file(self.web.source)
        if isinstance(fault, int):
            status, headers, body = fault, {}, b"no"
        if fault == "short":
            body = body[: len(body) // 2]
        if fault == "garbage":
            body = body[:600] + bytes(byte ^ 1 for byte in body[600:610]) + body[610:]
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        if self.command == "HEAD" and "Content-Length" in headers:
            self.end_headers()
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        self.body(body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def body(self, content: bytes) -> None:
        step = 4096
        for at in range(0, len(content), step):
            try:
                self.wfile.write(content[at : at + step])
            except OSError:
                self.close_connection = True
                return
            if self.web.bytes_per_second and self.web.over.wait(step / self.web.bytes_per_second):
                return

    def file(self, folder: Path) -> Answer:
        path = folder / urlsplit(self.path).path.lstrip("/")
        return (200, {}, path.read_bytes()) if path.is_file() else (404, {}, b"none")

    def behind(self) -> Answer:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection("127.0.0.1", self.web.source)  # type: ignore[arg-type]
        connection.request(self.command, self.path, content, dict(self.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        skipped = {"transfer-encoding", "connection", "server", "date"}
        skipped |= set() if self.command == "HEAD" else {"content-length"}
        return answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in skipped}, body

    def log_message(self, *words: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words: object) -> None:
        # A client that goes away in the middle is what these tests are about.
        pass


@contextmanager
def served(source: Path | int) -> Iterator[Web]:
    web = Web(source)
    server = _Server(("127.0.0.1", 0), type("Front", (_Front,), {"web": web}))
    web.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        web.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def s3_server(bucket: str, files: dict[str, bytes]) -> Iterator[int]:
    """An S3 server on loopback with one bucket and these objects in it; gives its port."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    known = {"aws_access_key_id": "fake", "aws_secret_access_key": "fake", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **known)
    client.create_bucket(Bucket=bucket)
    for name, content in files.items():
        client.put_object(Bucket=bucket, Key=name, Body=content)
    client.close()
    yield port
    server.stop()


@contextmanager
def s3_endpoint(port: int, monkeypatch: Any) -> Iterator[Web]:
    """A proxy before an S3 server, which the environment names as its endpoint meanwhile."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with served(port) as web:
        for name, value in s3_environment(web).items():
            monkeypatch.setenv(name, value)
        yield web
    s3fs.S3FileSystem.clear_instance_cache()


def s3_environment(web: Web) -> dict[str, str]:
    """What names a server as the S3 endpoint."""
    return {
        "AWS_ENDPOINT_URL": web.url,
        "AWS_ACCESS_KEY_ID": "fake",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-shown",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def settle(seconds: float = 2.0) -> None:
    """Wait until no thread fetches any more."""
    deadline = time.monotonic() + seconds
    while any(thread.name == "fetch" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
