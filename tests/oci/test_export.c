/* SPDX-License-Identifier: Apache-2.0 */
/* Saved images: what is written is loaded again, the same images give the same bytes, failures are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include "oci/export.h"
#include "oci/source.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* Saves to the file `out` of the place. */
static int save(struct place *p, const struct image_ref *refs, size_t count, const char *out, struct err *e)
{
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", p->dir, out);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    int ret = store_export(p->store, refs, count, fd, -1, e);
    close(fd);
    return ret;
}

static struct image_ref stored(struct place *p, const char *name, const char *layer, int nlayers)
{
    struct image_ref r = put_image(p->lease, name, layer, nlayers);
    assert_int_equal(store_ref_put(p->lease, &r, NULL), 0);
    return r;
}

static void run(const struct place *p, const char *script)
{
    char command[2000];
    snprintf(command, sizeof(command), "set -e; cd %s; export LC_ALL=C; %s", p->dir, script);
    int ret = system(command);
    if (ret != 0)
        fail_msg("'%s' ended with 0x%x", script, (unsigned)ret);
}

static void what_is_saved_is_loaded_again(void **state)
{
    struct place *p = *state;
    struct image_ref r[3] = {
        stored(p, "docker.io/library/a:1", "x", 3), stored(p, "example.org:5000/b/c:2", "x", 2),
        stored(p, "example.org/d@sha256:1111111111111111111111111111111111111111111111111111111111111111",
               "y", 1)};
    struct err e = {0};
    char path[200];
    if (save(p, r, 3, "out.tar", &e) != 0)
        fail_msg("%s", e.text);
    struct store *other;
    struct store_lease *l;
    snprintf(path, sizeof(path), "%s/other", p->dir);
    assert_int_equal(store_open(&other, path, NULL), 0);
    assert_int_equal(store_lease_begin(other, &l, NULL), 0);
    snprintf(path, sizeof(path), "%s/out.tar", p->dir);
    struct source_options o = {.cancel_fd = -1};
    if (source_load(l, path, &o, &e) != 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < 3; i++) {
        struct image_ref again;
        assert_int_equal(store_ref_get(other, r[i].name, &r[i].platform, &again, &e), 0);
        assert_memory_equal(&again.manifest, &r[i].manifest, sizeof(again.manifest));
        image_ref_fini(&again);
        image_ref_fini(&r[i]);
    }
    store_lease_end(l);
    store_close(other);
    /* A shared layer is in it once. */
    run(p, "tar tf out.tar | sort | uniq -d >twice; test ! -s twice; test $(tar tf out.tar | grep -c "
           "^blobs/sha256/.) = 10");
}

/* Who stored it may have had wider limits than the default. */
static void an_image_beyond_the_usual_limits_is_saved(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct image_ref r = stored(p, "example.org/many:1", "m", PLACE_LAYERS_MAX);
    if (save(p, &r, 1, "out.tar", &e) != 0)
        fail_msg("%s", e.text);
    image_ref_fini(&r);
    char script[100];
    snprintf(script, sizeof(script), "test $(tar tf out.tar | grep -c ^blobs/sha256/.) = %d",
             PLACE_LAYERS_MAX + 2);
    run(p, script);
}

static void the_same_images_give_the_same_bytes(void **state)
{
    struct place *p = *state;
    struct image_ref r[2] = {stored(p, "docker.io/library/a:1", "x", 3),
                             stored(p, "docker.io/library/b:1", "y", 2)};
    assert_int_equal(save(p, r, 2, "one.tar", NULL), 0);
    usleep(1100000);
    assert_int_equal(save(p, r, 2, "two.tar", NULL), 0);
    run(p, "cmp one.tar two.tar");
    image_ref_fini(&r[0]);
    image_ref_fini(&r[1]);
}

static void manifest_json_is_dockers(void **state)
{
    struct place *p = *state;
    struct image_ref r[2] = {
        stored(p, "docker.io/library/a:1", "x", 2),
        stored(p, "quay.io/d@sha256:1111111111111111111111111111111111111111111111111111111111111111", "y",
               1)};
    assert_int_equal(save(p, r, 2, "out.tar", NULL), 0);
    run(p,
        "tar xOf out.tar manifest.json | python3 -c '\n"
        "import json,sys\n"
        "a,d = json.load(sys.stdin)\n"
        "assert a[\"RepoTags\"] == [\"a:1\"], a\n"
        "assert d[\"RepoTags\"] == [], d\n"
        "assert len(a[\"Layers\"]) == 2 and all(l.startswith(\"blobs/sha256/\") for l in a[\"Layers\"]), a\n"
        "assert a[\"Config\"].startswith(\"blobs/sha256/\"), a\n'");
    run(p, "tar xOf out.tar index.json | python3 -c '\n"
           "import json,sys\n"
           "a,d = json.load(sys.stdin)[\"manifests\"]\n"
           "assert a[\"platform\"] == {\"os\": \"linux\", \"architecture\": \"amd64\"}, a\n"
           "assert a[\"annotations\"] == {\"io.containerd.image.name\": \"docker.io/library/a:1\", "
           "\"org.opencontainers.image.ref.name\": \"1\"}, a\n"
           "assert list(d[\"annotations\"]) == [\"io.containerd.image.name\"], d\n'");
    image_ref_fini(&r[0]);
    image_ref_fini(&r[1]);
}

static void no_image_is_an_empty_layout(void **state)
{
    struct place *p = *state;
    assert_int_equal(save(p, NULL, 0, "out.tar", NULL), 0);
    run(p, "test \"$(tar tf out.tar | tr '\\n' ' ')\" = 'oci-layout blobs/ blobs/sha256/ index.json "
           "manifest.json '");
}

static void what_the_disk_damaged_is_told(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char path[512];
    struct image_ref r = stored(p, "docker.io/library/a:1", "x", 2);
    struct digest layer = digest_of_text("layer x 1");
    place_file(p, path, "blobs/sha256/%s", digest_hex(&layer));
    chmod(path, 0600);
    place_write(path, "lAyer x 1");
    assert_int_equal(save(p, &r, 1, "out.tar", &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, layer.text));
    assert_non_null(strstr(e.text, "docker.io/library/a:1"));
    place_write(path, "longer than it was");
    assert_int_equal(save(p, &r, 1, "out.tar", &e), OCI_E_DIGEST);
    unlink(path);
    assert_int_equal(save(p, &r, 1, "out.tar", &e), -ENOENT);
    assert_non_null(strstr(e.text, path));
    image_ref_fini(&r);
}

static void a_writer_that_fails_is_told(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct image_ref r = stored(p, "docker.io/library/a:1", "x", 2);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC), broken[2], cancel[2];
    assert_int_equal(store_export(p->store, &r, 1, full, -1, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "No space left"));
    close(full);
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe(broken), 0);
    close(broken[0]);
    assert_int_equal(store_export(p->store, &r, 1, broken[1], -1, &e), -EPIPE);
    close(broken[1]);
    assert_int_equal(pipe(cancel), 0);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_int_equal(store_export(p->store, &r, 1, null, cancel[0], &e), -ECANCELED);
    close(null);
    close(cancel[0]);
    close(cancel[1]);
    assert_int_equal(store_export(p->store, &r, 1, -1, -1, &e), -EBADF);
    image_ref_fini(&r);
}

static void a_save_to_a_pipe_that_nobody_empties_can_be_cancelled(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct image_ref r = stored(p, "docker.io/library/a:1", "x", 2);
    int out[2], cancel[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(cancel), 0);
    assert_true(fcntl(out[1], F_SETPIPE_SZ, 4096) >= 0);
    if (fork() == 0) {
        usleep(200000);
        _exit(write(cancel[1], "x", 1) == 1 ? 0 : 1);
    }
    alarm(20);
    assert_int_equal(store_export(p->store, &r, 1, out[1], cancel[0], &e), -ECANCELED);
    alarm(0);
    wait(NULL);
    assert_string_equal(e.text, "interrupted");
    const int fds[] = {out[0], out[1], cancel[0], cancel[1]};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    image_ref_fini(&r);
}

/* At each byte count the disk may be full. */
static void a_disk_that_fills_up_is_told_wherever_it_happens(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct rlimit old, limit;
    struct image_ref r = stored(p, "docker.io/library/a:1", "x", 2);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    for (limit.rlim_cur = 0; limit.rlim_cur < 20480; limit.rlim_cur += 512) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        int ret = save(p, &r, 1, "out.tar", &e);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        if (ret == 0)
            break;
        assert_int_equal(ret, -EFBIG);
    }
    assert_true(limit.rlim_cur > 512 && limit.rlim_cur < 20480);
    image_ref_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(what_is_saved_is_loaded_again),
        T(an_image_beyond_the_usual_limits_is_saved),
        T(the_same_images_give_the_same_bytes),
        T(manifest_json_is_dockers),
        T(no_image_is_an_empty_layout),
        T(what_the_disk_damaged_is_told),
        T(a_writer_that_fails_is_told),
        T(a_save_to_a_pipe_that_nobody_empties_can_be_cancelled),
        T(a_disk_that_fills_up_is_told_wherever_it_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
