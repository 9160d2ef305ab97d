/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that other tools make are loaded, and those tools take what we save: umoci and skopeo of Debian, the
 * same image by every way that they know. Where they are not installed the tests say so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include "oci/export.h"
#include "oci/source.h"

#define SKOPEO "skopeo --insecure-policy"

static int run(const struct place *p, const char *script)
{
    char command[4000];
    snprintf(command, sizeof(command), "set -e; cd %s; export LC_ALL=C; %s", p->dir, script);
    return system(command);
}

static void must_run(const struct place *p, const char *script)
{
    int ret = run(p, script);
    if (ret != 0)
        fail_msg("'%s' ended with 0x%x", script, (unsigned)ret);
}

/* L:base, of four layers, with a whiteout and a configuration; L:other shares three of them. */
static void make_layout(const struct place *p)
{
    if (run(p, "command -v umoci skopeo >tools.txt") != 0) {
        print_message("# skipped: needs umoci and skopeo (make deps)\n");
        skip();
    }
    must_run(p,
             "umoci init --layout L; umoci new --image L:base; mkdir -p src/bin src/etc; echo sh >src/bin/sh;"
             "echo a >src/etc/a; ln src/etc/a src/etc/link; ln -s a src/etc/short; head -c 100000 "
             "/dev/urandom >src/random;"
             "umoci insert --image L:base src /; echo b >b; umoci insert --image L:base b /etc/b;"
             "umoci insert --image L:base --whiteout /etc/a; umoci tag --image L:base other;"
             "umoci insert --image L:base b /etc/c;"
             "umoci config --image L:base --config.env A=b --config.entrypoint /bin/sh --config.cmd -c "
             "--config.user 7:8 --config.workingdir /etc --config.label l=v --config.exposedports 80/tcp "
             "--config.volume /v --config.stopsignal SIGQUIT");
}

static void load(struct place *p, const char *file, struct source_options o)
{
    char path[200];
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/%s", p->dir, file);
    o.cancel_fd = -1;
    if (source_load(p->lease, path, &o, &e) != 0)
        fail_msg("%s", e.text);
}

static struct image_ref found(struct place *p, const char *name)
{
    struct platform host;
    struct image_ref r;
    struct err e = {0};
    platform_host(&host);
    if (store_ref_get(p->store, name, &host, &r, &e) != 0)
        fail_msg("%s", e.text);
    return r;
}

/* The configuration is the one that umoci wrote, whatever way it took. */
static void is_umocis_image(struct place *p, const char *name)
{
    struct image_ref r = found(p, name);
    struct manifest m;
    struct image_config c;
    struct err e = {0};
    assert_int_equal(store_manifest_load(p->store, &r.manifest.digest, NULL, &m, &e), 0);
    if (store_config_load(p->store, &m, NULL, &c, &e) != 0)
        fail_msg("%s: %s", name, e.text);
    assert_int_equal(m.nlayers, 4);
    assert_int_equal(c.ndiff_ids, 4);
    assert_string_equal(c.env[0], "A=b");
    assert_string_equal(c.entrypoint[0], "/bin/sh");
    assert_string_equal(c.cmd[0], "-c");
    assert_string_equal(c.user, "7:8");
    assert_string_equal(c.workdir, "/etc");
    assert_string_equal(c.label[0].name, "l");
    assert_string_equal(c.exposed_ports[0], "80/tcp");
    assert_string_equal(c.volumes[0], "/v");
    assert_string_equal(c.stop_signal, "SIGQUIT");
    /* umoci's own view of the same: the DiffIDs, in order. */
    char script[1200];
    snprintf(script, sizeof(script),
             SKOPEO " inspect --config --raw oci:L:base >config.json; python3 -c '\n"
                    "import json\nc = json.load(open(\"config.json\"))\n"
                    "assert c[\"rootfs\"][\"diff_ids\"] == [\"%s\", \"%s\", \"%s\", \"%s\"], c\n'",
             c.diff_id[0].text, c.diff_id[1].text, c.diff_id[2].text, c.diff_id[3].text);
    must_run(p, script);
    image_config_fini(&c);
    manifest_fini(&m);
    image_ref_fini(&r);
}

static void images_of_other_tools_are_loaded(void **state)
{
    struct place *p = *state;
    make_layout(p);
    must_run(p, SKOPEO " copy -q oci:L:base oci-archive:o.tar:example.org/x:oci;" SKOPEO
                       " copy -q oci:L:base docker-archive:d.tar:example.org/x:docker;" SKOPEO
                       " copy -q --dest-compress-format zstd oci:L:base oci:Z:example.org/x:zstd;"
                       "gzip -k d.tar; zstd -q o.tar -o o.tar.zst 2>zstd.txt || cp o.tar o.tar.zst");
    load(p, "L", (struct source_options){.select = "base"});
    is_umocis_image(p, "localhost/l:base");
    load(p, "o.tar", (struct source_options){0});
    is_umocis_image(p, "example.org/x:oci");
    load(p, "d.tar", (struct source_options){0});
    is_umocis_image(p, "example.org/x:docker");
    load(p, "d.tar.gz", (struct source_options){.name = "example.org/x:gz"});
    is_umocis_image(p, "example.org/x:gz");
    load(p, "o.tar.zst", (struct source_options){.name = "example.org/x:zst"});
    is_umocis_image(p, "example.org/x:zst");
    load(p, "Z", (struct source_options){0});
    is_umocis_image(p, "example.org/x:zstd");
}

/* Saves the named images of the store to out.tar. */
static void save(struct place *p, const char *const *names, size_t count)
{
    struct image_ref r[4];
    struct err e = {0};
    char path[200];
    for (size_t i = 0; i < count; i++)
        r[i] = found(p, names[i]);
    snprintf(path, sizeof(path), "%s/out.tar", p->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (store_export(p->store, r, count, fd, -1, &e) != 0)
        fail_msg("%s", e.text);
    close(fd);
    for (size_t i = 0; i < count; i++)
        image_ref_fini(&r[i]);
}

static void other_tools_take_what_is_saved(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"localhost/l:base", "localhost/l:other"};
    make_layout(p);
    load(p, "L", (struct source_options){0});
    save(p, names, 2);
    /* As a layout, the manifest is the very same. */
    must_run(p, SKOPEO
             " inspect --raw oci:L:base | sha256sum >was.txt; mkdir R; tar -C R -xf out.tar;" SKOPEO
             " inspect --raw oci:R:base | sha256sum >is.txt; cmp was.txt is.txt;"
             "umoci ls --layout R | sort | tr '\\n' ' ' >ls.txt; test \"$(cat ls.txt)\" = 'base other '");
    must_run(p, SKOPEO " copy -q oci-archive:out.tar:base oci:C:base;" SKOPEO
                       " inspect --raw oci:C:base | sha256sum >copied.txt; cmp was.txt copied.txt");
    /* As what `docker save` writes, too. */
    must_run(p,
             SKOPEO " copy -q docker-archive:out.tar:localhost/l:base oci:D:base;" SKOPEO
                    " copy -q docker-archive:out.tar:localhost/l:other oci:D:other;" SKOPEO
                    " inspect --config --raw oci:L:base | python3 -m json.tool --sort-keys >was.json;" SKOPEO
                    " inspect --config --raw oci:D:base | python3 -m json.tool --sort-keys >is.json; cmp "
                    "was.json is.json");
    if (geteuid() != 0) {
        print_message("# skipped: unpacking with umoci as root\n");
        skip();
    }
    /* Also for a user who is not root. */
    must_run(
        p,
        "mkdir N; chmod 777 N; chmod 755 .; chmod 644 out.tar; cd N; HOME=$PWD XDG_RUNTIME_DIR=$PWD setpriv "
        "--reuid 65534 --regid 65534 --clear-groups " SKOPEO
        " copy -q oci-archive:../out.tar:base oci:C:base");
    must_run(p, "for i in L R D; do umoci unpack --image $i:base U$i; done 2>unpack.txt;"
                "for i in L R D; do (cd U$i/rootfs; find . -printf '%p %y %m %U:%G %l %n %s %T@\\n' | sort;"
                "find . -type f -exec sha256sum {} + | sort) >$i.txt; done; cmp L.txt R.txt; cmp L.txt D.txt;"
                "grep -q ' \\./etc/c' L.txt; test ! -e UL/rootfs/etc/a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(images_of_other_tools_are_loaded, place_set_up, place_tear_down),
        cmocka_unit_test_setup_teardown(other_tools_take_what_is_saved, place_set_up, place_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
