# SPDX-License-Identifier: Apache-2.0
"""Registries for tests: the real one, a token server, a proxy that fails on purpose, and images to fill them with.

Everything listens at 127.0.0.1 (the proxy also at other loopback addresses), at ports that the kernel chooses.
"""
import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import re
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.parse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nobody listens at port {port}")


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- images --------------------------------------------------------------------------------------------------


def make_layer(files, mode=0o644):
    """A gzip layer of {name: bytes}, and the digest of its inflated bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    plain = out.getvalue()
    return gzip.compress(plain, 1, mtime=0), digest_of(plain)


class Image:
    """An OCI image in memory; its blobs by digest."""

    def __init__(self, layers, arch="amd64", variant=None, run=None):
        self.blobs = {}
        config = {"architecture": arch, "os": "linux", "config": run or {"Cmd": ["/bin/true"]},
                  "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}}
        if variant:
            config["variant"] = variant
        self.platform = {k: config[k] for k in ("architecture", "os", "variant") if k in config}
        self.layers = [self.add(OCI_LAYER, data) for data, _ in layers]
        self.config = self.add(OCI_CONFIG, json.dumps(config).encode())
        self.manifest = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": self.config,
                                    "layers": self.layers}).encode()
        self.digest = digest_of(self.manifest)

    def add(self, media_type, data):
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def write_layout(self, folder, tag):
        """As an OCI layout folder, for skopeo."""
        os.makedirs(os.path.join(folder, "blobs/sha256"))
        for digest, data in {**self.blobs, self.digest: self.manifest}.items():
            with open(os.path.join(folder, "blobs/sha256", digest[7:]), "wb") as f:
                f.write(data)
        entry = {"mediaType": OCI_MANIFEST, "digest": self.digest, "size": len(self.manifest),
                 "annotations": {"org.opencontainers.image.ref.name": tag}}
        with open(os.path.join(folder, "index.json"), "w", encoding="utf-8") as f:
            json.dump({"schemaVersion": 2, "manifests": [entry]}, f)
        with open(os.path.join(folder, "oci-layout"), "w", encoding="utf-8") as f:
            f.write('{"imageLayoutVersion": "1.0.0"}')


def make_index(images):
    """An index of the images, in this order."""
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": i.digest, "size": len(i.manifest), "platform": i.platform}
        for i in images]}).encode()


# --- the registry --------------------------------------------------------------------------------------------


class Registry:
    """Debian's docker-registry, with an access log."""

    def __init__(self, folder, name, data=None, tls=None, auth=None):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.log_path = os.path.join(folder, name + ".log")
        config = {"version": "0.1", "log": {"level": "error"},
                  "storage": {"filesystem": {"rootdirectory": os.path.join(folder, data or name)}},
                  "http": {"addr": self.host, "secret": "s"}}
        if tls:
            config["http"]["tls"] = {"certificate": tls.cert, "key": tls.key}
        if auth:
            config["auth"] = auth
        path = os.path.join(folder, name + ".json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)  # which is YAML as well
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", path], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL,
                                            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})

    def ready(self):
        wait_for_port(self.port)
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def count(self, pattern):
        return len(re.findall(pattern, self.log()))

    def put(self, repository, tag, image):
        """Fills a registry that needs no login, as the specification says."""
        c = http.client.HTTPConnection("127.0.0.1", self.port)
        for digest, data in image.blobs.items():
            c.request("POST", f"/v2/{repository}/blobs/uploads/")
            r = c.getresponse()
            r.read()
            where = urllib.parse.urlsplit(r.getheader("Location"))
            c.request("PUT", f"{where.path}?{where.query}&digest={digest}", body=data,
                      headers={"Content-Type": "application/octet-stream"})
            r = c.getresponse()
            assert r.status == 201, r.read()
            r.read()
        self.put_manifest(repository, image.digest, image.manifest, OCI_MANIFEST)
        if tag:
            self.put_manifest(repository, tag, image.manifest, OCI_MANIFEST)

    def put_manifest(self, repository, tag, data, media_type):
        c = http.client.HTTPConnection("127.0.0.1", self.port)
        c.request("PUT", f"/v2/{repository}/manifests/{tag}", body=data, headers={"Content-Type": media_type})
        r = c.getresponse()
        assert r.status == 201, r.read()


class Certificate:
    """A CA and a certificate of it for the loopback, by openssl."""

    def __init__(self, folder, name="tls"):
        self.ca, self.cert, self.key = (os.path.join(folder, f"{name}-{n}.pem") for n in ("ca", "cert", "key"))
        ca_key, request, ext = (os.path.join(folder, f"{name}-{n}") for n in ("ca.key", "req", "ext"))
        with open(ext, "w", encoding="utf-8") as f:
            f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        for command in (
                ["req", "-x509", *new_key, "-keyout", ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=test CA"],
                ["req", *new_key, "-keyout", self.key, "-out", request, "-subj", "/CN=registry"],
                ["x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                 "-extfile", ext, "-out", self.cert]):
            subprocess.run(["openssl", *command], check=True, capture_output=True)

    def context(self):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(self.cert, self.key)
        return c


# --- servers of our own --------------------------------------------------------------------------------------


class Server:
    """An HTTP server with a thread per connection, that notes what it is asked."""

    def __init__(self, address="127.0.0.1", tls=None):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                outer.requests.append((self.command, self.path, dict(self.headers.items())))
                try:
                    outer.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = handle_one

            def log_message(self, *args):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass  # a client that does not like our certificate

        self.server = Listener((address, 0), Handler)
        if tls:
            self.server.socket = tls.context().wrap_socket(self.server.socket, server_side=True,
                                                           do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.host = f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def seen(self, pattern):
        """Requests whose "METHOD path" matches."""
        return [r for r in list(self.requests) if re.search(pattern, f"{r[0]} {r[1]}")]

    @staticmethod
    def reply(handler, status, headers=(), body=b""):
        handler.send_response(status)
        for name, value in dict(headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)


class TokenServer(Server):
    """Gives tokens that docker-registry believes: signed by openssl, with the certificate in the header."""

    def __init__(self, folder, users, tls=None):
        super().__init__(tls=tls)
        self.users, self.refresh_tokens, self.status, self.seconds = users, {}, 200, 300
        self.cert, self.key = os.path.join(folder, "token-cert.pem"), os.path.join(folder, "token-key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key, "-out",
                        self.cert, "-days", "2", "-subj", "/CN=token"], check=True, capture_output=True)
        der = subprocess.run(["openssl", "x509", "-in", self.cert, "-outform", "DER"], check=True,
                             capture_output=True).stdout
        self.x5c = base64.b64encode(der).decode()

    def auth(self):
        """The registry's configuration."""
        return {"token": {"realm": f"{self.url}/token", "service": "test registry", "issuer": "test",
                          "rootcertbundle": self.cert}}

    def sign(self, subject, scopes):
        def part(obj):
            return base64.urlsafe_b64encode(json.dumps(obj).encode()).rstrip(b"=")

        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        text = part({"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]}) + b"." + part({
            "iss": "test", "sub": subject, "aud": "test registry", "exp": now + 300, "nbf": now - 10, "iat": now,
            "jti": str(len(self.requests)), "access": access})
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=text, check=True,
                                   capture_output=True).stdout
        return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()

    def answer(self, handler):
        if handler.command == "POST":
            form = urllib.parse.parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode())
            user = self.refresh_tokens.get(form["refresh_token"][0])
            scopes, name = form.get("scope", []), "access_token"
        else:
            form = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
            user, scopes, name = self.who(handler), form.get("scope", []), "token"
        if self.status != 200 or user is None:
            self.reply(handler, 401 if self.status == 200 else self.status, body=b"{}")
            return
        # Nobody in particular may pull from public/… only.
        allowed = [s for s in scopes if user or s.startswith("repository:public/")]
        body = json.dumps({name: self.sign(user, allowed), "expires_in": self.seconds}).encode()
        self.reply(handler, 200, {"Content-Type": "application/json"}, body)

    def who(self, handler):
        """The user's name; "" without a login, None with a wrong one."""
        value = handler.headers.get("Authorization")
        if not value:
            return ""
        user, _, password = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")
        return user if self.users.get(user) == password else None


class HttpProxy(Server):
    """What http_proxy names: is asked with whole URLs."""

    def answer(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        c = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
        c.request(handler.command, url.path, headers={k: v for k, v in handler.headers.items() if k != "Host"})
        r = c.getresponse()
        self.reply(handler, r.status, {"Content-Type": r.getheader("Content-Type", "")}, r.read())


class Fault:
    """What goes wrong with the next `times` requests that match."""

    def __init__(self, pattern, action, times=1):
        self.pattern, self.action, self.times = pattern, action, times


class Proxy(Server):
    """In front of a registry; passes everything on but what a fault is set for."""

    def __init__(self, upstream, address="127.0.0.1", tls=None):
        super().__init__(address, tls)
        self.upstream, self.faults, self.lock = upstream, [], threading.Lock()
        self.bytes_per_second = None

    def fail(self, pattern, action, times=1):
        self.faults.append(Fault(pattern, action, times))

    def find(self, handler):
        with self.lock:
            for f in self.faults:
                if f.times > 0 and re.search(f.pattern, f"{handler.command} {handler.path}"):
                    f.times -= 1
                    return f.action
        return None

    def ask(self, handler, drop=()):
        """The registry's answer: status, headers, body."""
        c = http.client.HTTPConnection("127.0.0.1", self.upstream.port, timeout=20)
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in drop}
        c.request(handler.command, handler.path, headers=headers)
        r = c.getresponse()
        headers = {k: v for k, v in r.getheaders() if k.lower() not in ("connection", "date", "server")}
        return r.status, headers, r.read()

    def answer(self, handler):
        action = self.find(handler)
        if action:
            action(handler, self)
        else:
            self.send(handler, *self.ask(handler))

    def send(self, handler, status, headers, body):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            self.write(handler, body)

    def write(self, handler, body):
        if not self.bytes_per_second:
            handler.wfile.write(body)
            return
        step = max(1, self.bytes_per_second // 50)
        for at in range(0, len(body), step):
            handler.wfile.write(body[at:at + step])
            handler.wfile.flush()
            time.sleep(0.02)


# --- faults --------------------------------------------------------------------------------------------------


def status(code, headers=(), body=b"{}"):
    return lambda handler, proxy: proxy.reply(handler, code, headers, body)


def cut(after):
    """Passes `after` bytes of the body on, and closes the connection."""

    def action(handler, proxy):
        code, headers, body = proxy.ask(handler)
        proxy.send(handler, code, headers, body[:after])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True

    return action


def stall(after, seconds=30):
    def action(handler, proxy):
        code, headers, body = proxy.ask(handler)
        proxy.send(handler, code, headers, body[:after])
        handler.wfile.flush()
        time.sleep(seconds)
        handler.close_connection = True

    return action


def trickle(handler, proxy):
    """A byte of the answer's body at a time; the whole would take longer than anybody waits."""
    code, headers, body = proxy.ask(handler)
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    try:
        for at in range(len(body)):
            handler.wfile.write(body[at:at + 1])
            time.sleep(0.1)
    except OSError:
        pass  # nobody listens any more
    handler.close_connection = True


def announce(**changed):
    """The answer with other headers than are true."""

    def action(handler, proxy):
        code, headers, body = proxy.ask(handler)
        proxy.send(handler, code, {**headers, **{k.replace("_", "-"): v for k, v in changed.items()}}, body)
        handler.close_connection = True

    return action


def change(function):
    """The body changed by `function`, with a Content-Length that is true."""

    def action(handler, proxy):
        code, headers, body = proxy.ask(handler)
        body = function(body)
        proxy.send(handler, code, {**headers, "Content-Length": str(len(body))}, body)

    return action


def flip(body):
    return body[:-1] + bytes([body[-1] ^ 1])


def ignore_range(handler, proxy):
    proxy.send(handler, *proxy.ask(handler, drop=("range",)))


def without_length(handler, proxy):
    """Until the connection closes, as HTTP/1.0 did."""
    code, headers, body = proxy.ask(handler)
    headers = {k: v for k, v in headers.items() if k.lower() != "content-length"}
    proxy.send(handler, code, {**headers, "Connection": "close"}, body)
    handler.close_connection = True


def redirect(url, code=307):
    return lambda handler, proxy: proxy.reply(handler, code, {"Location": url + handler.path})
