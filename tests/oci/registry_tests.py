# SPDX-License-Identifier: Apache-2.0
"""Pulls from a registry that works: what is brought and what is not, TLS, logins, mirrors, several at once."""
import json
import os
import subprocess
import time

from pulls import (BASE, LIMIT, NOT_FOUND, NO_HOST, OTHER_TOP, PLATFORM, REFUSED, REGISTRY, TEMP, TLS, TOP,
                   UNAUTHORIZED, Outcome, Place, insecure, login, many, one, ref, registry, run, two)
from servers import (OCI_INDEX, Certificate, HttpProxy, Image, Proxy, Registry, TokenServer, digest_of, free_port,
                     make_index, redirect, status)

arm6, arm7 = Image([TOP], "arm", "v6"), Image([OTHER_TOP], "arm", "v7")
registry.put("a/two", "latest", two)
for member in (one, arm6, arm7):
    registry.put("a/multi", None, member)
registry.put_manifest("a/multi", "v1", make_index([arm6, one, arm7]), OCI_INDEX)


# --- plain pulls ---------------------------------------------------------------------------------------------


def a_pull_brings_all_and_a_second_one_does_nothing():
    place = Place(insecure(registry))
    first = place.pull(ref("library/python:slim")).ok(blobs=3, merges=1, requests=4, manifest=one.digest)
    assert first.last["bytes"] == sum(map(len, one.blobs.values()))
    place.holds(one)
    assert len(first.events("downloaded")) == 3 and len(first.events("merged")) == 2
    before = len(registry.log())
    place.pull(ref("library/python:slim")).ok(requests=0, blobs=0, bytes=0, merges=0, manifest=one.digest)
    assert len(registry.log()) == before
    again = place.pull(ref("library/python:slim"), "--always").ok(requests=1, blobs=0, merges=0)
    assert again.last["manifest"] == one.digest


def an_image_that_shares_layers_brings_only_the_others():
    place = Place(insecure(registry))
    place.pull(ref("library/python:slim")).ok(blobs=3)
    second = place.pull(ref("a/two")).ok(blobs=2, merges=1)
    assert [e["layer"] for e in second.events("exists")] == [0]
    place.holds(two)


def a_moved_tag_is_seen_by_always_only():
    place = Place(insecure(registry))
    registry.put("a/moves", "t", one)
    place.pull(ref("a/moves:t")).ok(manifest=one.digest)
    registry.put("a/moves", "t", two)
    place.pull(ref("a/moves:t")).ok(manifest=one.digest, requests=0)
    place.pull(ref("a/moves:t"), "--never").ok(manifest=one.digest, requests=0)
    place.pull(ref("a/moves:t"), "--always").ok(manifest=two.digest, blobs=2)
    place.do("gc").ok()
    assert one.digest[7:] not in place.files("blobs/sha256")
    place.holds(two)


def always_asks_and_believes_the_answer():
    proxy = Proxy(registry)
    place, name = Place(insecure(proxy)), ref("library/python:slim", proxy)
    place.pull(name).ok()
    # A registry that does not know HEAD, and one that does not tell the digest.
    proxy.fail("HEAD", status(405))
    place.pull(name, "--always").ok(requests=2, blobs=0, merges=0)
    proxy.fail("HEAD", status(200, {"Content-Type": "application/json"}))
    place.pull(name, "--always").ok(requests=2, blobs=0, merges=0)
    # One that cannot be asked, or has it no more: what we have is not what was asked for.
    proxy.fail("HEAD", status(404))
    place.pull(name, "--always").failed(NOT_FOUND, name)
    proxy.fail("HEAD", status(401, {"WWW-Authenticate": "Basic realm=x"}))
    place.pull(name, "--always").failed(UNAUTHORIZED, name)
    proxy.stop()
    place.pull(name, "--always").failed(REFUSED, name)
    place.pull(name).ok(requests=0)


def by_digest_and_by_tag_with_digest():
    place = Place(insecure(registry))
    place.pull(ref(f"library/python@{one.digest}")).ok(manifest=one.digest)
    place.pull(ref(f"library/python:slim@{one.digest}")).ok(manifest=one.digest, blobs=0, merges=0)
    place.pull(ref(f"library/python@{one.digest}"), "--always").ok(requests=0)
    place.pull(ref("library/python@" + digest_of(b"?"))).failed(NOT_FOUND, "library/python", registry.host)


def never_asks_nobody():
    place = Place(insecure(registry))
    place.pull(ref("library/python:slim"), "--never").failed(NOT_FOUND, "not in the store")
    assert not registry.count("GET /v2/library/python/manifests/never")
    place.pull(ref("library/python:slim")).ok()
    os.unlink(os.path.join(place.store, "rootfs", one.digest[7:] + ".ext4"))
    place.pull(ref("library/python:slim"), "--never").ok(requests=0, blobs=0, merges=1)
    os.unlink(os.path.join(place.store, "rootfs", one.digest[7:] + ".ext4"))
    os.unlink(os.path.join(place.store, "blobs/sha256", one.layers[1]["digest"][7:]))
    place.pull(ref("library/python:slim"), "--never").failed(NOT_FOUND, one.layers[1]["digest"])
    place.pull(ref("library/python:slim")).ok(requests=1, blobs=1, merges=1)


def spoil(path):
    """Changes a byte in the middle, as a bad disk would."""
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 0x55]))


def what_the_disk_has_spoilt_is_brought_again():
    place, name = Place(insecure(registry)), ref("library/python:slim")
    place.pull(name).ok()
    root = os.path.join(place.store, "rootfs", one.digest[7:] + ".ext4")
    blob = lambda digest: os.path.join(place.store, "blobs/sha256", digest[7:])  # noqa: E731
    for spoilt in (one.layers[0]["digest"], one.layers[1]["digest"]):
        spoil(blob(spoilt))
        os.unlink(root)
        place.pull(name).ok(blobs=1, requests=1, merges=1)
        place.holds(one)
    os.truncate(blob(one.layers[1]["digest"]), 5)
    os.unlink(root)
    place.pull(name).ok(blobs=1, merges=1)
    # Without a registry it is told, and what is whole stays.
    spoil(blob(one.layers[0]["digest"]))
    os.unlink(root)
    place.pull(name, "--never").failed(NOT_FOUND, one.layers[0]["digest"], "not in the store")
    place.pull(name).ok(blobs=1, merges=1)
    place.holds(one)


def an_image_is_there_with_manifest_and_configuration_only():
    place, name = Place(insecure(registry)), ref("library/python:slim")
    place.pull(name).ok()
    for gone in (one.digest, one.config["digest"]):
        for harm in (os.unlink, spoil):
            for wanted in (name, ref(f"library/python@{one.digest}")):
                place.pull(wanted).ok()
                harm(os.path.join(place.store, "blobs/sha256", gone[7:]))
                place.pull(wanted).ok(merges=0, manifest=one.digest)
                place.holds(one)


def an_index_leads_to_the_platform():
    place = Place(insecure(registry))
    place.pull(ref("a/multi:v1"), "--platform", "linux/amd64").ok(manifest=one.digest, requests=5)
    place.pull(ref("a/multi:v1"), "--platform", "linux/arm/v7").ok(manifest=arm7.digest)
    place.pull(ref("a/multi:v1"), "--platform", "linux/arm/v8").ok(manifest=arm7.digest)
    place.pull(ref("a/multi:v1"), "--platform", "linux/arm/v6").ok(manifest=arm6.digest)
    place.pull(ref("a/multi:v1"), "--platform", "linux/amd64", "--always").ok(manifest=one.digest, requests=1)
    missing = place.pull(ref("a/multi:v1"), "--platform", "linux/s390x")
    missing.failed(PLATFORM, "linux/s390x", "linux/amd64", "linux/arm", "a/multi:v1")
    place.pull(ref("library/python:slim"), "--platform", "linux/arm64").failed(PLATFORM, "linux/amd64", "linux/arm64")
    # An index may know better than the configuration, and may be inside another one, but not for ever.
    bare = Image([TOP], "arm")
    bare.platform = {"os": "linux", "architecture": "arm", "variant": "v6"}
    registry.put("a/multi", None, bare)
    inner = make_index([bare])
    registry.put_manifest("a/multi", "d0", inner, OCI_INDEX)
    for depth in range(1, 5):
        entry = {"mediaType": OCI_INDEX, "digest": digest_of(inner), "size": len(inner)}
        inner = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}).encode()
        registry.put_manifest("a/multi", f"d{depth}", inner, OCI_INDEX)
    place.pull(ref("a/multi:d0"), "--platform", "linux/arm/v6").ok(manifest=bare.digest)
    place.pull(ref("a/multi:d2"), "--platform", "linux/arm/v6").ok(manifest=bare.digest)
    place.pull(ref("a/multi:d3"), "--platform", "linux/arm/v6").failed(LIMIT, "index_depth")


def what_skopeo_pushed():
    place = Place(insecure(registry))
    layout = os.path.join(TEMP, "layout")
    many.write_layout(layout, "t")
    for name, options in (("oci", []), ("docker", ["--format", "v2s2"])):
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *options,
                        f"oci:{layout}:t", f"docker://{ref('skopeo/' + name)}:t"], check=True, timeout=60)
        place.pull(ref(f"skopeo/{name}:t")).ok(merges=1)
    assert registry.count("GET /v2/skopeo/docker/blobs/") == 0  # the same blobs under another manifest


def images_without_layers_and_with_one_twice():
    place = Place(insecure(registry), {"parallel": 4})
    empty, double = Image([]), Image([TOP, BASE, TOP])
    registry.put("a/empty", "t", empty)
    registry.put("a/double", "t", double)
    place.pull(ref("a/empty:t")).ok(blobs=1, merges=1)
    outcome = place.pull(ref("a/double:t")).ok(blobs=3, merges=1)
    place.holds(double)
    # The second time it is there with the first: nobody else downloads it.
    assert outcome.events("waiting") == []
    assert [e["layer"] for e in outcome.events("exists")] == [2]
    assert sorted(e["layer"] for e in outcome.events("downloaded")) == [-1, 0, 1]


# --- TLS, logins ---------------------------------------------------------------------------------------------


tls = Certificate(TEMP)
other_tls = Certificate(TEMP, "other")
subprocess.run(f"htpasswd -Bbn user secret >{TEMP}/htpasswd", shell=True, check=True)
tokens = TokenServer(TEMP, {"user": "secret"})
tokens.refresh_tokens["refresh-1"] = "user"
secure = Registry(TEMP, "secure", "plain", tls=tls)
locked = Registry(TEMP, "locked", "plain", auth={"htpasswd": {"realm": "r", "path": f"{TEMP}/htpasswd"}})
guarded = Registry(TEMP, "guarded", "plain", auth=tokens.auth())
registry.put("public/app", "t", one)
registry.put("private/app", "t", two)
for server in (secure, locked, guarded):
    server.ready()


def https_with_a_certificate_of_ours():
    place = Place({secure.host: {"ca_file": tls.ca}})
    place.pull(ref("library/python:slim", secure)).ok(blobs=3)
    place.holds(one)
    assert secure.count(r"GET /v2/library/python/blobs/\S+ HTTP/2.0") == 3, secure.log()


def certificates_that_are_not_trusted():
    name = ref("library/python:slim", secure)
    Place().pull(name).failed(TLS, secure.host, name, "certificate")
    Place({secure.host: {"ca_file": other_tls.ca}}).pull(name).failed(TLS, "certificate")
    Place({secure.host: {"ca_file": "/nonexistent"}}).pull(name).failed(TLS, "/nonexistent")
    Place({ref("", secure).strip("/"): {"ca_file": tls.ca}}).pull(name.replace("127.0.0.1", "localhost")).failed(TLS)


def plain_http_is_for_named_hosts_only():
    before = len(registry.log())
    Place().pull(ref("library/python:slim")).failed(TLS, registry.host)  # https is tried, and not spoken there
    Place({"docker.io": {"mirrors": [f"http://localhost:{registry.port}"]}}).pull("python:slim").ok()
    proxy = Proxy(registry)
    proxy.fail("GET .*manifests", redirect(registry.url))
    Place(insecure(proxy)).pull(ref("library/python:slim", proxy)).failed(TLS, "plain http", "127.0.0.1")
    Place({secure.host: {"insecure": True}}).pull(ref("library/python:slim", secure)).failed(REGISTRY, "400")
    proxy.stop()
    assert registry.count('python/manifests/slim HTTP/1.1" 200') >= 1 and len(registry.log()) > before


def a_basic_login():
    name = ref("library/python:slim", locked)
    Place(insecure(locked)).pull(name).failed(UNAUTHORIZED, locked.host, name, "credentials")
    Place(insecure(locked), docker=login(locked.host, "user", "wrong")).pull(name).failed(UNAUTHORIZED, "login")
    Place(insecure(locked), docker=login("elsewhere.example", "user", "secret")).pull(name).failed(UNAUTHORIZED)
    place = Place(insecure(locked), docker=login(locked.host, "user", "secret"))
    place.pull(name).ok(blobs=3, requests=5)  # one 401
    place.holds(one)


def a_login_from_a_helper():
    place = Place(insecure(locked), docker={"credHelpers": {locked.host: "test"}})
    helper = os.path.join(place.dir, "docker-credential-test")
    with open(helper, "w", encoding="utf-8") as f:
        f.write(f'''#!/bin/sh
read server
[ "$1 $server" = "get {locked.host}" ] && echo '{{"Username": "user", "Secret": "secret"}}'
''')
    os.chmod(helper, 0o755)
    env = {**os.environ, "PATH": place.dir + ":" + os.environ["PATH"]}
    place.pull(ref("library/python:slim", locked), env=env).ok(blobs=3)
    bare = Place(insecure(locked), docker={"credsStore": "nosuch"})
    bare.pull(ref("library/python:slim", locked)).failed(UNAUTHORIZED)
    assert "docker-credential-nosuch" in bare.stderr and "not installed" in bare.stderr


def tokens_for_everybody_and_for_somebody():
    hosts = insecure(guarded, tokens)
    tokens.requests.clear()
    Place(hosts).pull(ref("public/app:t", guarded)).ok(blobs=3, requests=6)
    assert len(tokens.requests) == 1 and "Authorization" not in tokens.requests[0][2]
    assert "service=test%20registry&scope=repository%3Apublic%2Fapp%3Apull" in tokens.requests[0][1]
    name = ref("private/app:t", guarded)
    Place(hosts).pull(name).failed(UNAUTHORIZED, guarded.host, name, "docker login")
    Place(hosts, docker=login(guarded.host, "user", "wrong")).pull(name).failed(UNAUTHORIZED, tokens.host)
    Place(hosts, docker=login(guarded.host, "user", "secret")).pull(name).ok(blobs=3, requests=6)
    Place(insecure(guarded)).pull(name).failed(TLS, "plain http", "token server")


def an_identity_token_is_posted():
    hosts, name = insecure(guarded, tokens), ref("private/app:t", guarded)
    tokens.requests.clear()
    Place(hosts, docker={"auths": {guarded.host: {"identitytoken": "refresh-1"}}}).pull(name).ok(blobs=3)
    assert [r[0] for r in tokens.requests] == ["POST"]
    Place(hosts, docker={"auths": {guarded.host: {"identitytoken": "stolen"}}}).pull(name).failed(UNAUTHORIZED)


def a_token_that_is_refused_is_asked_for_again_once():
    proxy = Proxy(guarded)
    hosts = insecure(proxy, tokens)
    challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}/token",service="test registry",error="invalid_token"'}
    tokens.requests.clear()
    proxy.fail("GET .*/blobs/", status(401, challenge))
    Place(hosts, {"parallel": 1}).pull(ref("public/app:t", proxy)).ok(blobs=3, requests=8)
    assert len(tokens.requests) == 2
    proxy.fail("GET .*/blobs/", status(401, challenge), times=100)
    Place(hosts, {"parallel": 1}).pull(ref("public/app:t", proxy)).failed(UNAUTHORIZED)
    assert len(tokens.requests) == 4
    proxy.stop()


def a_token_that_runs_out_during_a_pull_is_replaced():
    proxy = Proxy(guarded)
    proxy.bytes_per_second = 1_500_000  # two seconds for the large layer
    tokens.requests.clear()
    tokens.seconds = 1
    place = Place(insecure(proxy, tokens), {"parallel": 1})
    place.pull(ref("public/app:t", proxy)).ok(blobs=3)
    place.holds(one)
    # Before it is sent again, as far as that is known; the registry refuses what goes without.
    sent = {r[2]["Authorization"] for r in proxy.seen("GET .*/blobs/") if "Authorization" in r[2]}
    assert len(tokens.requests) >= 2 and len(sent) >= 2, (tokens.requests, sent)
    tokens.seconds = 300
    proxy.stop()


def a_token_server_that_fails():
    hosts, name = insecure(guarded, tokens), ref("public/app:t", guarded)
    tokens.requests.clear()
    tokens.status = 503
    Place(hosts).pull(name).failed(REGISTRY, "503", tokens.host)
    assert len(tokens.requests) == 3  # as many as attempts
    tokens.status = 200
    proxy = Proxy(registry)
    bad = {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/",service="s"'}
    proxy.fail("GET", status(401, bad))
    Place({**insecure(proxy), "127.0.0.1:1": {"insecure": True}}).pull(ref("public/app:t", proxy)).failed(REFUSED)
    proxy.fail("GET", status(401, {"WWW-Authenticate": "Negotiate"}))
    Place(insecure(proxy)).pull(ref("public/app:t", proxy)).failed(UNAUTHORIZED, "no way to log in")
    proxy.stop()


# --- mirrors -------------------------------------------------------------------------------------------------


def a_mirror_serves_short_names():
    proxy = Proxy(registry)
    place = Place({"docker.io": {"mirrors": [proxy.url]}}, docker=login("docker.io", "hub", "secret"))
    place.pull("python:slim").ok(blobs=3, name="docker.io/library/python:slim")
    place.holds(one)
    assert not any("Authorization" in r[2] for r in proxy.requests)
    proxy.stop()


def mirrors_are_tried_in_order_then_the_origin():
    good, broken, empty = Proxy(registry), Proxy(registry), Proxy(registry)
    dead = f"http://127.0.0.1:{free_port()}"
    broken.fail("GET", status(500), times=1000)
    empty.fail("GET", status(404), times=1000)
    mirrors = {"reg.invalid": {"mirrors": [dead, broken.url, empty.url, good.url]}}
    place = Place(mirrors)
    place.pull("reg.invalid/library/python:slim").ok(blobs=3)
    place.holds(one)
    assert len(broken.requests) == 3  # once given up, it is left alone
    assert len(empty.requests) == 4 and len(good.requests) == 4
    own = {registry.host: {"insecure": True, "mirrors": [dead, empty.url]}}
    Place(own).pull(ref("library/python:slim")).ok(blobs=3)
    gone = Place({"reg.invalid": {"mirrors": [dead]}}).pull("reg.invalid/a:b")
    gone.failed(NO_HOST, "reg.invalid", "a mirror", "127.0.0.1")
    for proxy in (good, broken, empty):
        proxy.stop()


def a_proxy_is_taken_from_the_environment():
    proxy = HttpProxy()
    env = {**os.environ, "http_proxy": proxy.url, "no_proxy": ""}
    Place(insecure(registry)).pull(ref("library/python:slim"), env=env).ok(blobs=3)
    assert len(proxy.requests) == 4 and proxy.requests[0][1] == f"{registry.url}/v2/library/python/manifests/slim"
    proxy.stop()
    gone = Place(insecure(registry)).pull(ref("library/python:slim"), env=env)
    gone.failed(REFUSED, registry.host)


# --- several at once -----------------------------------------------------------------------------------------


def two_processes_bring_each_blob_once():
    proxy = Proxy(registry)
    proxy.bytes_per_second = 2_000_000
    place = Place(insecure(proxy), {"parallel": 3})
    command = place.command(ref("a/many:v1", proxy))
    pulls = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    done = [Outcome(p.communicate(timeout=60)[0], p.returncode).ok() for p in pulls]
    place.holds(many)
    asked = [r[1] for r in proxy.seen("GET .*/blobs/")]
    assert len(asked) == 10 and len(set(asked)) == 10, asked
    assert sum(d.last["blobs"] for d in done) == 10 and sum(d.last["merges"] for d in done) == 1
    assert any(d.events("waiting") for d in done)
    proxy.stop()


def layers_come_in_parallel_and_are_merged_meanwhile():
    proxy = Proxy(registry)
    proxy.bytes_per_second = 500_000
    place = Place(insecure(proxy), {"parallel": 5})
    start = time.monotonic()
    done = place.pull(ref("a/many:v1", proxy)).ok()
    took = time.monotonic() - start
    assert took < 4, f"9 layers of 0.6 s each, 5 at a time, took {took} s"
    events = [(e["event"], e.get("layer")) for e in done.lines if "event" in e]
    assert events.index(("merged", 0)) < events.index(("downloaded", 8))
    merged = [layer for event, layer in events if event == "merged"]
    assert merged == list(range(9))
    proxy.stop()


run([
    a_pull_brings_all_and_a_second_one_does_nothing,
    an_image_that_shares_layers_brings_only_the_others,
    a_moved_tag_is_seen_by_always_only,
    always_asks_and_believes_the_answer,
    by_digest_and_by_tag_with_digest,
    never_asks_nobody,
    what_the_disk_has_spoilt_is_brought_again,
    an_image_is_there_with_manifest_and_configuration_only,
    an_index_leads_to_the_platform,
    what_skopeo_pushed,
    images_without_layers_and_with_one_twice,
    https_with_a_certificate_of_ours,
    certificates_that_are_not_trusted,
    plain_http_is_for_named_hosts_only,
    a_basic_login,
    a_login_from_a_helper,
    tokens_for_everybody_and_for_somebody,
    an_identity_token_is_posted,
    a_token_that_is_refused_is_asked_for_again_once,
    a_token_that_runs_out_during_a_pull_is_replaced,
    a_token_server_that_fails,
    a_mirror_serves_short_names,
    mirrors_are_tried_in_order_then_the_origin,
    a_proxy_is_taken_from_the_environment,
    two_processes_bring_each_blob_once,
    layers_come_in_parallel_and_are_merged_meanwhile,
], [secure, locked, guarded])
