/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of what makes the store safe from crashes, and each of its system calls failing once. The calls
 * below take the place of the C library's in this program; they count, note, and fail the one that is chosen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include <sys/file.h>
#include <sys/syscall.h>

/* What happens to the chosen call. */
enum fault { FAULT_NONE, FAULT_ERROR, FAULT_SHORT };

static struct {
    enum fault fault;
    int at, count; /* the call that fails, from 1; how many there were */
    bool hit;
    char order[4096]; /* a word for each call that was noted */
} calls;

static void calls_watch(enum fault fault, int at)
{
    calls.fault = fault;
    calls.at = at;
    calls.count = 0;
    calls.hit = false;
    calls.order[0] = '\0';
}

/* True when this call is to fail. */
static bool chosen(const char *word)
{
    calls.count++;
    if (strlen(calls.order) + strlen(word) + 2 < sizeof(calls.order)) {
        strcat(calls.order, word);
        strcat(calls.order, " ");
    }
    if (calls.fault == FAULT_NONE || calls.count != calls.at)
        return false;
    calls.hit = true;
    return true;
}

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
int fsync(int fd)
{
    struct stat st;
    bool folder = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    if (chosen(folder ? "sync-folder" : "sync")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    if (chosen("rename")) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int fchmod(int fd, mode_t mode)
{
    if (chosen("mode")) {
        errno = EPERM;
        return -1;
    }
    return (int)syscall(SYS_fchmod, fd, mode);
}

int flock(int fd, int how)
{
    if (chosen("lock")) {
        errno = ENOLCK;
        return -1;
    }
    return (int)syscall(SYS_flock, fd, how);
}

int ftruncate(int fd, off_t size)
{
    if (chosen("truncate")) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_ftruncate, fd, size);
}

ssize_t write(int fd, const void *data, size_t len)
{
    if (fd > 2 && chosen("write")) {
        if (calls.fault == FAULT_SHORT && len > 1)
            return syscall(SYS_write, fd, data, len / 2);
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, data, len);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

static void a_blob_is_synced_before_it_is_seen(void **state)
{
    struct place *p = *state;
    struct digest d = digest_of_text("x");
    calls_watch(FAULT_NONE, 0);
    assert_int_equal(store_blob_put(p->lease, &d, "x", 1, NULL), 0);
    assert_non_null(strstr(calls.order, "write mode sync rename sync-folder "));
}

static void an_image_and_a_reference_are_synced_before_they_are_seen(void **state)
{
    struct place *p = *state;
    struct image_ref r = put_image(p->lease, "example.org/a:1", "a", 2);
    calls_watch(FAULT_NONE, 0);
    store_rootfs(p->lease, &r.manifest.digest);
    assert_non_null(strstr(calls.order, "mode sync rename sync-folder "));
    calls_watch(FAULT_NONE, 0);
    assert_int_equal(store_ref_put(p->lease, &r, NULL), 0);
    assert_non_null(strstr(calls.order, "write mode sync rename sync-folder "));
    calls_watch(FAULT_NONE, 0);
    assert_int_equal(store_ref_remove(p->store, r.name, NULL, NULL), 0);
    assert_non_null(strstr(calls.order, "sync-folder "));
    image_ref_fini(&r);
}

/* A digest is in the lease before the store is asked for it: gc could come between. */
static void a_lease_is_written_first(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text("x");
    calls_watch(FAULT_NONE, 0);
    assert_int_equal(store_blob_begin(p->lease, &d, 1, -1, &w, NULL), 0);
    assert_ptr_equal(strstr(calls.order, "lock write "), calls.order);
    blob_writer_abort(w);
}

/* One pull, all of it; stops at the first failure. */
static int pull(struct place *p, struct err *e)
{
    static const char text[] = "a layer", config[] = "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";
    struct store_lease *l;
    struct blob_writer *w;
    struct rootfs_writer *r;
    int ret = store_lease_begin(p->store, &l, e);
    if (ret < 0)
        return ret;
    struct digest d = digest_of_text(text);
    ret = store_blob_begin(l, &d, strlen(text), -1, &w, e);
    if (ret == 0) {
        ret = blob_writer_write(w, text, strlen(text), e);
        if (ret == 0)
            ret = blob_writer_commit(w, e);
        else
            blob_writer_abort(w);
    }
    struct descriptor layer = {.media_type = MEDIA_OCI_LAYER, .digest = d, .size = strlen(text)};
    struct manifest m = {
        .media_type = MEDIA_OCI_MANIFEST,
        .config = {.media_type = MEDIA_OCI_CONFIG, .digest = digest_of_text(config), .size = strlen(config)},
        .layer = &layer,
        .nlayers = 1};
    CLEANUP(mem_freep) char *json = NULL;
    size_t len;
    assert_int_equal(manifest_format(&m, &json, &len, NULL), 0);
    struct image_ref ref = {
        .name = (char *)"example.org/a:1",
        .manifest = {.media_type = MEDIA_OCI_MANIFEST, .digest = digest_of_text(json), .size = len}};
    if (ret >= 0)
        ret = store_blob_put(l, &m.config.digest, config, strlen(config), e);
    if (ret >= 0)
        ret = store_blob_put(l, &ref.manifest.digest, json, len, e);
    if (ret >= 0)
        ret = store_rootfs_begin(l, &ref.manifest.digest, -1, &r, e);
    if (ret == 0) {
        place_write(rootfs_writer_path(r), "a file system");
        ret = rootfs_writer_commit(r, -1, e);
    }
    if (ret >= 0)
        ret = store_ref_put(l, &ref, e);
    store_lease_end(l);
    return ret < 0 ? ret : 0;
}

/* What can be seen is whole. */
static void check(struct place *p)
{
    struct image_list list;
    char command[300];
    snprintf(
        command, sizeof(command),
        "cd %s/blobs/sha256 && for f in *; do test ! -e $f || echo \"$f  $f\"; done | sha256sum -c --quiet -",
        p->path);
    if (place_count(p, "blobs/sha256") > 0)
        assert_int_equal(system(command), 0);
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct manifest m;
        assert_int_equal(store_manifest_load(p->store, &list.item[i].ref.manifest.digest, NULL, &m, NULL), 0);
        assert_true(store_blob_exists(p->store, &m.layer[0].digest, m.layer[0].size));
        assert_true(store_blob_exists(p->store, &m.config.digest, m.config.size));
        assert_int_equal(list.item[i].size, manifest_size(&m) + list.item[i].ref.manifest.size);
        manifest_fini(&m);
    }
    image_list_fini(&list);
}

/* Fails the first call, the second… until a pull is not reached by the fault any more. Returns how many. */
static int fail_each(struct place *p, enum fault fault)
{
    for (int at = 1;; at++) {
        struct err e = {0};
        calls_watch(fault, at);
        int ret = pull(p, &e);
        bool hit = calls.hit;
        calls_watch(FAULT_NONE, 0);
        if (!hit) {
            assert_int_equal(ret, 0);
            return at - 1;
        }
        /* A failure says on what. What was cut short may go on. */
        if (fault == FAULT_ERROR)
            assert_true(ret < 0);
        assert_true(ret == 0 || (e.code == ret && strstr(e.text, p->path)));
        check(p);
        /* Nothing stands in the way of the next attempt, and nothing is left behind. */
        assert_int_equal(pull(p, &e), 0);
        check(p);
        assert_int_equal(store_gc(p->store, &(struct gc_options){0}, NULL, &e), 0);
        assert_int_equal(place_count(p, "refs") + place_count(p, "rootfs"), 2);
        assert_int_equal(place_count(p, "blobs/sha256"), 3);
        assert_int_equal(place_count(p, "partial") + place_count(p, "locks"), 0);
        assert_int_equal(place_count(p, "leases"), 1);
        assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, &e), 0);
        assert_int_equal(place_count(p, "blobs/sha256") + place_count(p, "refs") + place_count(p, "rootfs"),
                         0);
    }
}

static void each_call_may_fail(void **state)
{
    assert_true(fail_each(*state, FAULT_ERROR) > 30);
}

static void each_write_may_be_short(void **state)
{
    assert_true(fail_each(*state, FAULT_SHORT) > 30);
}

/* gc that fails at any call has taken nothing that it should not have. */
static void gc_may_fail_at_each_call(void **state)
{
    struct place *p = *state;
    for (int at = 1;; at++) {
        struct err e = {0};
        assert_int_equal(pull(p, &e), 0);
        put_text(p->lease, MEDIA_OCI_LAYER, "garbage");
        place_new_lease(p);
        calls_watch(FAULT_ERROR, at);
        int ret = store_gc(p->store, &(struct gc_options){0}, NULL, &e);
        bool hit = calls.hit;
        calls_watch(FAULT_NONE, 0);
        assert_true(ret == 0 || (hit && strstr(e.text, p->path)));
        check(p);
        assert_int_equal(place_count(p, "refs") + place_count(p, "rootfs"), 2);
        assert_true(place_count(p, "blobs/sha256") >= 3);
        if (!hit)
            return;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(a_blob_is_synced_before_it_is_seen),
        T(an_image_and_a_reference_are_synced_before_they_are_seen),
        T(a_lease_is_written_first),
        T(each_call_may_fail),
        T(each_write_may_be_short),
        T(gc_may_fail_at_each_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
