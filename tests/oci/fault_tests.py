# SPDX-License-Identifier: Apache-2.0
"""Pulls from registries that fail, lie or lead astray, pulls that end early, and what they leave behind."""
import json
import os
import random
import signal
import socket
import struct
import subprocess
import time
from email.utils import formatdate

from pulls import (BASE, CANCELED, DIGEST, FORMAT, IMPATIENT, LIMIT, NOSPACE, NOT_FOUND, NO_HOST, PLATFORM, REFUSED,
                   REGISTRY, STALLED, TEMP, TLS, TOP, UNAUTHORIZED, UNSUPPORTED, Outcome, Place, Skip, insecure, login,
                   many, one, ref, registry, run, two)
from servers import (OCI_MANIFEST, Certificate, Image, Proxy, Registry, Server, announce, change, cut, digest_of, flip,
                     free_port, ignore_range, redirect, stall, status, trickle, without_length)


tls = Certificate(TEMP)
subprocess.run(f"htpasswd -Bbn user secret >{TEMP}/htpasswd", shell=True, check=True)
locked = Registry(TEMP, "locked", "plain", auth={"htpasswd": {"realm": "r", "path": f"{TEMP}/htpasswd"}}).ready()


# --- failures ------------------------------------------------------------------------------------------------


def errors_are_told_apart():
    place = Place(insecure(registry))
    place.pull("reg.invalid/a:b").failed(NO_HOST, "no such host", "reg.invalid", "'reg.invalid/a:b'")
    port = free_port()
    place.pull(f"127.0.0.1:{port}/a:b").failed(REFUSED, "refused", f"127.0.0.1:{port}/a:b")
    place.pull(ref("nosuch/repo:t")).failed(NOT_FOUND, registry.host, "nosuch/repo", "no such repository or tag")
    place.pull(ref("library/python:nosuch")).failed(NOT_FOUND, "nosuch", "no such repository or tag", "unknown")
    place.pull("a//b").failed(-5001, "a//b")
    name = ref("library/python:slim")
    Place().pull(name).failed(TLS, "no trusted connection", name)
    place.pull(name, "--platform", "linux/s390x").failed(PLATFORM, "linux/s390x", name)
    name = ref("library/python:slim", locked)
    Place(insecure(locked)).pull(name).failed(UNAUTHORIZED, "login", name)
    proxy = Proxy(registry)
    proxy.fail("GET .*/blobs/" + one.layers[0]["digest"], change(flip), times=2)
    name = ref("library/python:slim", proxy)
    Place(insecure(proxy)).pull(name).failed(DIGEST, one.layers[0]["digest"], proxy.host, name)
    proxy.stop()


def cut_connections_are_resumed():
    proxy = Proxy(registry)
    big = one.layers[0]
    proxy.fail("GET .*/manifests/", cut(10))
    proxy.fail("GET .*/blobs/" + big["digest"], cut(1_000_000))
    proxy.fail("GET .*/blobs/" + big["digest"], cut(1_000_000))
    place = Place(insecure(proxy))
    done = place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
    place.holds(one)
    assert done.last["bytes"] == sum(map(len, one.blobs.values()))
    ranges = [r[2].get("Range") for r in proxy.seen("GET .*/blobs/" + big["digest"])]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-"], ranges
    assert "cut" in done.events("retrying")[0]["reason"]
    proxy.stop()


def progress_starts_the_count_anew():
    proxy = Proxy(registry)
    proxy.fail("GET .*/blobs/" + one.layers[0]["digest"], cut(300_000), times=7)
    place = Place(insecure(proxy))
    place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
    place.holds(one)
    assert len(proxy.seen(one.layers[0]["digest"])) == 8  # more than "attempts"
    proxy.stop()


def connections_reset_under_tls():
    def reset(handler, proxy_):
        code, headers, body = proxy_.ask(handler)
        proxy_.send(handler, code, headers, body[:100_000])
        handler.wfile.flush()
        # No farewell of TLS: with SO_LINGER 0, close(2) sends RST, and writing to it raises SIGPIPE.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(handler.connection.detach())
        handler.close_connection = True

    proxy = Proxy(registry, tls=tls)
    place = Place({proxy.host: {"ca_file": tls.ca}})
    proxy.fail("GET .*/blobs/" + one.layers[0]["digest"], reset, times=2)
    place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
    place.holds(one)
    proxy.stop()


def a_later_pull_resumes():
    proxy = Proxy(registry)
    big = one.layers[0]
    proxy.fail("GET .*/blobs/" + big["digest"], cut(50_000), times=3)
    place = Place(insecure(proxy))
    place.pull(ref("library/python:slim", proxy)).failed(STALLED, "cut", proxy.host)
    assert place.files("partial") and not place.files("rootfs")
    proxy.requests.clear()
    place.pull(ref("library/python:slim", proxy)).ok()
    place.holds(one)
    assert [r[2].get("Range") for r in proxy.seen(big["digest"])] == ["bytes=150000-"]
    proxy.stop()


def a_wrong_answer_to_a_range_keeps_what_is_there():
    wrong = {"416": status(416), "length": announce(Content_Length="7"), "more": announce(Content_Length="2500000"),
             "range": announce(Content_Range="bytes 2000000-2999999/3000000")}
    big, whole = one.layers[0]["digest"], sum(map(len, one.blobs.values()))
    for what, fault in wrong.items():
        proxy = Proxy(registry)
        proxy.fail("GET .*/blobs/" + big, cut(1_000_000))
        proxy.fail("GET .*/blobs/" + big, fault)
        place = Place(insecure(proxy))
        done = place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
        place.holds(one)
        # The next request is for the whole; of that, what was there is passed over.
        ranges = [r[2].get("Range") for r in proxy.seen("GET .*/blobs/" + big)]
        assert ranges == [None, "bytes=1000000-", None], (what, ranges)
        assert done.last["bytes"] == whole, (what, done.last)
        if what == "range":  # of which the whole has none
            proxy.stop()
            continue
        # It does not go on for ever, and a later pull has the bytes still.
        proxy.fail("GET .*/blobs/" + big, cut(100_000))
        proxy.fail("GET .*/blobs/" + big, fault, times=100)
        place, before = Place(insecure(proxy)), len(proxy.seen(big))
        place.pull(ref("library/python:slim", proxy)).failed(DIGEST, proxy.host, big)
        assert len(proxy.seen(big)) - before == 3, what
        proxy.faults.clear()
        proxy.requests.clear()
        place.pull(ref("library/python:slim", proxy)).ok()
        place.holds(one)
        assert [r[2].get("Range") for r in proxy.seen(big)] == ["bytes=100000-"], what
        proxy.stop()


def a_large_manifest_is_not_tried_for_ever():
    proxy = Proxy(registry)
    fat = json.dumps({**json.loads(one.manifest), "annotations": {"of": "x" * 200_000}}).encode()
    registry.put_manifest("library/python", "fat", fat, OCI_MANIFEST)
    proxy.fail("GET .*/manifests/", cut(150_000), times=1000)
    name = ref("library/python:fat", proxy)
    place = Place(insecure(proxy))
    place.pull(name).failed(STALLED, "cut", proxy.host, name)
    assert len(proxy.requests) == 3  # as many as attempts, however much each one brings
    proxy.faults.clear()
    place.pull(name).ok(blobs=3, manifest=digest_of(fat))
    proxy.stop()


def documents_that_trickle_are_given_up():
    proxy = Proxy(registry)
    name, impatient = ref("library/python:slim", proxy), {"document_timeout_ms": 600, "attempts": 2}
    proxy.fail("GET .*/manifests/", trickle, times=2)
    start = time.monotonic()
    place = Place(insecure(proxy), impatient)
    place.pull(name).failed(STALLED, "not whole after 600 ms", "127.0.0.1", name)
    assert 1.2 < time.monotonic() - start < 8 and len(proxy.requests) == 2
    bearer = {"WWW-Authenticate": f'Bearer realm="{proxy.url}/token",service="s"'}
    proxy.fail("GET .*/manifests/", status(401, bearer), times=2)
    proxy.fail("GET /token", trickle, times=2)
    place.pull(name).failed(STALLED, "not whole after 600 ms", name)
    assert len(proxy.seen("GET /token")) == 2
    proxy.fail("GET .*/manifests/", trickle)
    place.pull(name).ok(blobs=3)  # the second attempt
    place.holds(one)
    proxy.stop()


def a_server_without_ranges():
    proxy = Proxy(registry)
    big = one.layers[0]["digest"]
    proxy.fail("GET .*/blobs/" + big, cut(1_000_000))
    proxy.fail("GET .*/blobs/" + big, ignore_range)
    proxy.fail("GET .*/blobs/", without_length, times=3)
    place = Place(insecure(proxy))
    place.pull(ref("library/python:slim", proxy)).ok()
    place.holds(one)
    proxy.stop()


def what_passes_is_tried_again():
    proxy = Proxy(registry)
    proxy.fail("GET .*/manifests/", status(503))
    proxy.fail("GET .*/manifests/", status(429))
    proxy.fail("GET .*/blobs/" + one.layers[0]["digest"], stall(1000))
    place = Place(insecure(proxy), IMPATIENT)
    done = place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
    assert len(proxy.seen("GET .*/manifests/")) == 3
    assert "sent nothing" in done.events("retrying")[0]["reason"]
    place.holds(one)
    proxy.fail("GET .*/manifests/", status(503), times=3)
    Place(insecure(proxy)).pull(ref("library/python:slim", proxy)).failed(REGISTRY, "503", proxy.host)
    words = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}'
    proxy.fail("GET .*/manifests/", status(429, {}, words), times=3)
    Place(insecure(proxy)).pull(ref("library/python:slim", proxy)).failed(REGISTRY, "429", "slow down")
    proxy.fail("GET .*/manifests/", stall(0), times=3)
    silent = Place(insecure(proxy), IMPATIENT).pull(ref("library/python:slim", proxy))
    silent.failed(STALLED, "sent nothing", proxy.host)
    proxy.stop()


def a_server_says_when_to_come_back():
    proxy = Proxy(registry)
    big = one.layers[0]["digest"]
    # In seconds, or as a date, which has whole ones: two from now are one at least.
    for code, what, dated in ((429, "/manifests/", False), (503, "/blobs/" + big, True)):
        start, place = time.monotonic(), Place(insecure(proxy))
        after = formatdate(time.time() + 2, usegmt=True) if dated else "1"
        proxy.fail("GET .*" + what, status(code, {"Retry-After": after}))
        place.pull(ref("library/python:slim", proxy)).ok(blobs=3)
        assert time.monotonic() - start >= 1, code
        assert len(proxy.seen("GET .*" + what)) == 2
        proxy.requests.clear()
    proxy.stop()


def a_slow_server_is_no_stalled_one():
    proxy = Proxy(registry)
    proxy.bytes_per_second = 1_500_000
    place = Place(insecure(proxy), {"stall_timeout_ms": 1200, "document_timeout_ms": 1000, "attempts": 1})
    start = time.monotonic()
    place.pull(ref("library/python:slim", proxy)).ok()
    assert time.monotonic() - start > 1.8
    proxy.stop()


def wrong_bytes_are_never_kept():
    proxy = Proxy(registry)
    name, big = ref("library/python:slim", proxy), one.layers[0]["digest"]
    proxy.fail("GET .*/blobs/" + big, change(flip))
    place = Place(insecure(proxy))
    place.pull(name).ok()
    place.holds(one)
    for what in (flip, lambda body: body[:-5], lambda body: body + b"x", lambda body: b""):
        proxy.fail("GET .*/blobs/" + big, change(what), times=2)
        place = Place(insecure(proxy))
        place.pull(name).failed(DIGEST, big, proxy.host, name)
        assert big[7:] not in place.files("blobs/sha256") and not place.files("rootfs")
        place.pull(name).ok()
        place.holds(one)
    proxy.fail("GET .*/blobs/" + big, change(flip), times=1)
    proxy.fail("GET .*/blobs/" + big, cut(2_000_000), times=1)
    place = Place(insecure(proxy))
    place.pull(name).ok()
    place.holds(one)
    proxy.stop()


def manifests_that_are_not_what_they_should_be():
    proxy = Proxy(registry)
    name = ref("library/python:slim", proxy)
    kind = {"Content-Type": OCI_MANIFEST}
    for body, error, word in (
            (b"", FORMAT, "empty"), (b"{", FORMAT, ""), (b"<html>", FORMAT, ""),
            (b"x" * 5_000_000, LIMIT, "manifest_bytes"),
            (b'{"schemaVersion": 1, "fsLayers": []}', UNSUPPORTED, "")):
        proxy.fail("GET .*/manifests/", status(200, kind, body))
        Place(insecure(proxy)).pull(name).failed(error, word, name)
    proxy.fail("GET .*/manifests/", change(lambda body: body + b" "), times=2)
    Place(insecure(proxy)).pull(name).failed(DIGEST, one.digest, proxy.host)
    proxy.fail("GET .*/manifests/" + one.digest, status(200, kind, two.manifest), times=2)
    Place(insecure(proxy)).pull(ref(f"library/python@{one.digest}", proxy)).failed(DIGEST, one.digest)
    Place(insecure(proxy), limits={"layers": 1}).pull(name).failed(LIMIT, "layers")
    proxy.stop()


def layers_that_are_not_what_the_configuration_says():
    liar = Image([(BASE[0], TOP[1])])
    registry.put("a/liar", "t", liar)
    place = Place(insecure(registry))
    place.pull(ref("a/liar:t")).failed(DIGEST, "layer 0", TOP[1], "a/liar")
    assert place.files("rootfs") == [] and place.files("refs") == [] and place.files("partial") == []
    # The layer itself is whole: it is neither thrown away nor fetched again.
    fetched = registry.count("GET /v2/a/liar/blobs/")
    assert fetched == 2, fetched  # with the configuration
    assert liar.layers[0]["digest"][7:] in place.files("blobs/sha256")
    place.pull(ref("a/liar:t")).failed(DIGEST, "layer 0", TOP[1], "a/liar")
    assert registry.count("GET /v2/a/liar/blobs/") == fetched
    short = Image([BASE, TOP])
    config = json.loads(short.blobs.pop(short.config["digest"]))
    config["rootfs"]["diff_ids"].pop()
    broken = json.loads(short.manifest)
    broken["config"] = short.add(short.config["mediaType"], json.dumps(config).encode())
    short.manifest = json.dumps(broken).encode()
    short.digest = digest_of(short.manifest)
    registry.put("a/short", "t", short)
    place.pull(ref("a/short:t")).failed(FORMAT, "a/short")
    assert place.files("rootfs") == [] and place.files("refs") == []


def answers_that_are_no_http():
    def raw(data):
        def action(handler, proxy_):
            handler.wfile.write(data)
            handler.wfile.flush()
            handler.connection.shutdown(2)
            handler.close_connection = True
        return action

    proxy = Proxy(registry)
    name = ref("library/python:slim", proxy)
    headers = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(80))
    for data, errors in ((b"", (STALLED,)), (b"SSH-2.0-x\r\n", (REGISTRY,)),
                         (b"HTTP/1.1 200 OK\r\n" + headers, (REGISTRY,)),
                         (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", (REGISTRY, FORMAT, STALLED)),
                         (b"HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\n{}", (REGISTRY,))):
        proxy.fail("GET", raw(data), times=3)
        got = Place(insecure(proxy)).pull(name)
        assert got.error in errors, (data[:30], got.last)
        proxy.faults.clear()
    proxy.stop()


# --- redirects -----------------------------------------------------------------------------------------------


def redirects_do_not_carry_credentials_elsewhere():
    storage, front = Proxy(registry, "127.0.0.2"), Proxy(locked)
    front.fail("GET .*/blobs/", redirect(storage.url), times=2)
    front.fail("GET .*/blobs/", redirect(front.url), times=1)  # to itself
    place = Place({**insecure(storage, front)}, {"parallel": 1}, docker=login(front.host, "user", "secret"))
    place.pull(ref("library/python:slim", front)).ok(blobs=3, requests=8)
    place.holds(one)
    assert len(storage.requests) == 2
    assert not any(h.lower() in ("authorization", "cookie") for r in storage.requests for h in r[2])
    assert len([r for r in front.seen("GET .*/blobs/") if "Authorization" in r[2]]) == 4
    # The same host at another port is another origin.
    neighbour = Proxy(registry)
    front.fail("GET .*/blobs/", redirect(neighbour.url), times=3)
    place = Place(insecure(neighbour, front), docker=login(front.host, "user", "secret"))
    place.pull(ref("library/python:slim", front)).ok()
    assert len(neighbour.requests) == 3 and not any("Authorization" in r[2] for r in neighbour.requests)
    # Nor does a login that another host asks for.
    front.fail("GET .*/blobs/", redirect(neighbour.url), times=1)
    neighbour.fail("GET", status(401, {"WWW-Authenticate": "Basic realm=x"}), times=10)
    place = Place(insecure(neighbour, front), {"parallel": 1}, docker=login(front.host, "user", "secret"))
    place.pull(ref("library/python:slim", front)).failed(UNAUTHORIZED)
    assert not any("Authorization" in r[2] for r in neighbour.requests)
    for server in (storage, front, neighbour):
        server.stop()


def redirects_from_https_stay_on_https():
    plain, front = Proxy(registry), Proxy(registry, tls=tls)
    hosts = {front.host: {"ca_file": tls.ca}, plain.host: {"insecure": True}}
    front.fail("GET .*/blobs/", redirect(plain.url))
    Place(hosts, {"parallel": 1}).pull(ref("library/python:slim", front)).failed(TLS, "from https to http")
    assert not plain.requests
    Place(hosts).pull(ref("library/python:slim", front)).ok()
    for server in (plain, front):
        server.stop()


def redirects_that_lead_nowhere():
    proxy = Proxy(registry)
    name = ref("library/python:slim", proxy)
    proxy.fail("GET", redirect(proxy.url), times=1000)
    Place(insecure(proxy)).pull(name).failed(REGISTRY, "redirects more than")
    assert len(proxy.requests) == 11
    for where in ("file:///etc/passwd#", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1:1/", "gopher://x/", "http://"):
        proxy.faults.clear()
        proxy.fail("GET", redirect(where))
        got = Place(insecure(proxy)).pull(name)
        assert got.error in (REGISTRY, TLS), (where, got.last)
    proxy.faults.clear()
    stolen = Server()
    post = Proxy(registry)
    post.fail("GET", status(401, {"WWW-Authenticate": f'Bearer realm="{post.url}/token"'}))
    post.fail("POST", redirect(stolen.url), times=10)
    place = Place(insecure(post, stolen), docker={"auths": {post.host: {"identitytoken": "secret"}}})
    place.pull(ref("library/python:slim", post)).failed(REGISTRY, "holds secrets")
    assert not stolen.requests
    for server in (proxy, stolen, post):
        server.stop()


# --- pulls that end early ------------------------------------------------------------------------------------


def a_pull_can_be_cancelled():
    proxy = Proxy(registry)
    proxy.bytes_per_second = 200_000
    place = Place(insecure(proxy))
    for fault in (None, stall(0)):
        if fault:
            proxy.fail("GET .*/manifests/", fault)
        p = subprocess.Popen(place.command(ref("a/many:v1", proxy), "--cancel-stdin"), stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
        time.sleep(0.5)
        start = time.monotonic()
        output = p.communicate(b"x", timeout=30)[0]
        assert time.monotonic() - start < 4
        Outcome(output, p.returncode).failed(CANCELED, "cancelled")
    assert place.files("partial") and place.files("leases") == [] and place.files("rootfs") == []
    proxy.stop()


def killed_at_any_moment():
    proxy = Proxy(registry)
    proxy.bytes_per_second = 20_000_000
    place = Place(insecure(proxy), {"parallel": 3})
    name, moments, finished = ref("a/many:v1", proxy), random.Random(7), 0
    for _ in range(50):
        p = subprocess.Popen(place.command(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.005, 0.35))
        p.send_signal(signal.SIGKILL)
        if p.wait() == 0:
            finished += 1
            place.do("remove", name).ok()
        if moments.random() < 0.3:
            place.do("gc").ok()
    assert finished < 50, "no pull was hit"
    place.pull(name).ok(manifest=many.digest)
    place.holds(many)
    place.do("gc").ok()
    wanted = sorted(d[7:] for d in [*many.blobs, many.digest])
    assert place.files("blobs/sha256") == wanted
    assert place.files("rootfs") == [many.digest[7:] + ".ext4"]
    assert place.files("partial") == [] and place.files("leases") == []
    place.do("remove", name).ok()
    place.do("gc").ok()
    assert [place.files(d) for d in ("blobs/sha256", "rootfs", "partial", "leases", "refs")] == [[]] * 5
    proxy.stop()


def a_full_disk_is_told():
    if os.getuid() != 0:
        raise Skip("only root can make a small disk")
    place = Place(insecure(registry))
    os.mkdir(place.store)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place.store], check=True)
    try:
        place.pull(ref("library/python:slim")).failed(NOSPACE, "No space left", "library/python:slim", place.store)
        place.do("gc").ok()
    finally:
        subprocess.run(["umount", place.store], check=True)


run([
    errors_are_told_apart,
    cut_connections_are_resumed,
    progress_starts_the_count_anew,
    connections_reset_under_tls,
    a_later_pull_resumes,
    a_wrong_answer_to_a_range_keeps_what_is_there,
    a_large_manifest_is_not_tried_for_ever,
    documents_that_trickle_are_given_up,
    a_server_without_ranges,
    what_passes_is_tried_again,
    a_server_says_when_to_come_back,
    a_slow_server_is_no_stalled_one,
    wrong_bytes_are_never_kept,
    manifests_that_are_not_what_they_should_be,
    layers_that_are_not_what_the_configuration_says,
    answers_that_are_no_http,
    redirects_do_not_carry_credentials_elsewhere,
    redirects_from_https_stay_on_https,
    redirects_that_lead_nowhere,
    a_pull_can_be_cancelled,
    killed_at_any_moment,
    a_full_disk_is_told,
], [locked])
