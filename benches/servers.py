"""S3 servers on the loopback for benches/run, and a proxy that counts what they are asked.

SeaweedFS keeps objects on the disk and answers like S3 does. moto keeps them in memory, and answers the end of an upload in parts
in a form that the SDK can't read: the object is then compared byte by byte.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

ACCOUNT = "bench"  # both the key and the secret
PATIENCE = 60  # seconds: how long a server may take to start
CHECKPOINTS = ".logjam/checkpoint/"  # what their keys begin with


def find(weed=None):
    """The programs that are there, the better one first."""
    beside = pathlib.Path(os.sys.executable).parent / "weed"
    weed = weed or shutil.which("weed") or (beside if beside.exists() else None)
    return [kind for kind, program in ((Weed, weed), (Moto, shutil.which("moto_server"))) if program and kind.use(program)]


def start(work, weed=None):
    """A server, or `None` if neither is installed."""
    for kind in find(weed):
        server = kind(work)
        with contextlib.suppress(OSError):
            server.wait()
            return server
        server.stop()
    return None


def free_port(*offsets):
    """A port that is free, and so are those at these offsets from it."""
    for port in range(21_000 + os.getpid() % 1000 * 10, 45_000):
        with contextlib.ExitStack() as stack:
            try:
                for offset in (0, *offsets):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return port
    raise OSError("no port is free")


class Server:
    """What it takes of the CPU is not counted."""

    headers = {}

    def __init__(self, work, argv, port):
        self.url, self.buckets = f"http://127.0.0.1:{port}", 0
        with open(work / "server.log", "wb") as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, start_new_session=True)

    @classmethod
    def use(cls, program):
        cls.program = program
        return True

    def wait(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                # A bucket can be made, that is: all of it is up.
                return self.bucket()
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.2)

    def call(self, method, path):
        request = urllib.request.Request(self.url + path, method=method, headers=self.headers)
        return urllib.request.urlopen(request, timeout=600)

    def bucket(self):
        self.buckets += 1
        name = f"bench-{self.buckets}"
        self.call("PUT", f"/{name}").read()
        return name

    def keys(self, bucket):
        """The archives in it."""
        listing = self.call("GET", f"/{bucket}?list-type=2").read().decode()
        keys = [part.split("</Key>")[0] for part in listing.split("<Key>")[1:]]
        return [key for key in keys if key.endswith(".gz")]

    def length(self, bucket, key):
        """Of an object, in bytes; `None` if there is none."""
        try:
            with self.call("HEAD", f"/{bucket}/{key}") as answer:
                return int(answer.headers["Content-Length"])
        except urllib.error.HTTPError:
            return None

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Moto(Server):
    name = "moto"
    # It checks no signature, but wants to see one.
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=bench/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"}

    def __init__(self, work):
        port = free_port()
        super().__init__(work, [self.program, "-H", "127.0.0.1", "-p", port], port)


class Weed(Server):
    name = "SeaweedFS"

    def __init__(self, work):
        self.directory = work / "weed"
        # Of the part before.
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        may = ["Admin", "Read", "Write", "List", "Tagging"]
        account = {"name": ACCOUNT, "credentials": [{"accessKey": ACCOUNT, "secretKey": ACCOUNT}], "actions": may}
        # This script signs nothing.
        identities = [account, {"name": "anonymous", "actions": may}]
        settings = self.directory / "id.json"
        settings.write_text(json.dumps({"identities": identities}))
        # It also listens 10,000 ports above each.
        port = free_port(1, 2, 3, *range(10_000, 10_004))
        argv = [self.program, "server", f"-dir={self.directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        argv += [f"-master.port={port + 1}", f"-volume.port={port + 2}", f"-filer.port={port + 3}"]
        argv += ["-s3", f"-s3.port={port}", f"-s3.config={settings}", "-s3.domainName=localhost"]
        argv += ["-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"]
        argv += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=1024", "-volume.max=200"]
        super().__init__(work, argv, port)


# -- counting ---------------------------------------------------------------------------------------------------------


class Counter:
    """A proxy in front of a server: each request as S3 calls it, what for, and the status of its answer."""

    def __init__(self, server, bucket):
        counter, at = self, server.url.removeprefix("http://")
        self.bucket, self.seen, self.lock = bucket, [], threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                onward = http.client.HTTPConnection(at, timeout=600)
                onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    # The signature is over the host that was asked.
                    if name.lower() not in ("connection", "expect"):
                        onward.putheader(name, value)
                onward.endheaders(body)
                answer = onward.getresponse()
                content = answer.read()
                counter.note(self.command, self.path, answer.status)
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
                self.send_header("Content-Length", length or 0)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                onward.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.proxy.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.proxy.server_port}"
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()

    def note(self, method, path, status):
        path, _, query = path.partition("?")
        key = path.removeprefix(f"/{self.bucket}").removeprefix("/")
        what = "checkpoint" if key.startswith(CHECKPOINTS) else "manifest" if key.endswith(".json") else "archive"
        with self.lock:
            self.seen.append((call(method, key, query), what, status))

    def close(self):
        self.proxy.shutdown()
        self.proxy.server_close()


def call(method, key, query):
    """As S3 calls it."""
    names = {part.partition("=")[0] for part in query.split("&")}
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in names else "CompleteMultipartUpload"
    if method == "GET" and (not key or names & {"uploads", "list-type"}):
        return "List"
    if method == "PUT":
        return "UploadPart" if "uploadId" in names else "PutObject"
    return {"GET": "GetObject", "HEAD": "HeadObject" if key else "HeadBucket", "DELETE": "Delete"}[method]
