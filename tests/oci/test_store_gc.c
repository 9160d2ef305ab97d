/* SPDX-License-Identifier: Apache-2.0 */
/* Garbage collection: what is reachable, leased, kept or open stays; everything else goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

static struct gc_result collected(struct place *p, const struct gc_options *o)
{
    struct gc_result r;
    struct err e = {0};
    int ret = store_gc(p->store, o, &r, &e);
    if (ret != 0)
        fail_msg("gc: %s", e.text);
    return r;
}

static struct gc_result pruned(struct place *p)
{
    return collected(p, &(struct gc_options){0});
}

/* Dates a file back. */
static void make_old(const struct place *p, const char *folder, const char *name, long seconds)
{
    char path[512];
    struct timespec t[2];
    place_file(p, path, "%s/%s", folder, name);
    clock_gettime(CLOCK_REALTIME, &t[0]);
    t[0].tv_sec -= seconds;
    t[1] = t[0];
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void an_empty_store_has_no_garbage(void **state)
{
    struct place *p = *state;
    struct gc_result r = pruned(p);
    assert_int_equal(r.refs + r.blobs + r.rootfs + r.partials + r.in_use + r.bytes, 0);
    assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
}

static void what_a_reference_reaches_stays(void **state)
{
    struct place *p = *state;
    struct digest a = store_image(p->lease, "example.org/a:1", "a", 3);
    struct digest b = store_image(p->lease, "example.org/b:1", "b", 2);
    store_image(p->lease, "example.org/c:1", "a", 2); /* shares its layers with a */
    store_rootfs(p->lease, &a);
    store_rootfs(p->lease, &b);
    place_new_lease(p);
    struct gc_result r = pruned(p);
    assert_int_equal(r.blobs + r.rootfs + r.refs, 0);
    assert_int_equal(place_count(p, "blobs/sha256"), 3 + 2 + 3 * 2);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", NULL, NULL), 0);
    r = pruned(p);
    assert_int_equal(r.blobs, 3); /* manifest, configuration, the layer that is not shared */
    assert_int_equal(r.rootfs, 1);
    assert_true(r.bytes > 0);
    assert_int_equal(store_rootfs_open(p->store, &a, NULL, NULL), -ENOENT);
    struct digest shared = digest_of_text("layer a 1"), own = digest_of_text("layer a 2");
    assert_true(store_blob_exists(p->store, &shared, 9));
    assert_false(store_blob_exists(p->store, &own, 9));
    /* What is left is whole. */
    struct image_list list;
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    assert_int_equal(list.count, 2);
    image_list_fini(&list);
}

/* Who stored it may have had wider limits than the default. */
static void an_image_beyond_the_usual_limits_stays(void **state)
{
    struct place *p = *state;
    struct image_list list;
    struct err e = {0};
    struct digest d = store_image(p->lease, "example.org/many:1", "m", PLACE_LAYERS_MAX);
    store_rootfs(p->lease, &d);
    place_new_lease(p);
    struct gc_result r = pruned(p);
    assert_int_equal(r.blobs + r.rootfs + r.refs, 0);
    assert_int_equal(place_count(p, "blobs/sha256"), PLACE_LAYERS_MAX + 2);
    assert_int_equal(store_image_check(p->store, &d, &e), 0);
    assert_int_equal(store_list(p->store, &list, &e), 0);
    assert_true(list.item[0].size > PLACE_LAYERS_MAX);
    image_list_fini(&list);
    /* A lease that names it too, and is looked at first, does not hide it from its reference. */
    assert_int_equal(store_lease_add(p->lease, &d, &e), 0);
    assert_int_equal(pruned(p).blobs, 0);
    place_new_lease(p);
    /* A stopped box keeps it without a reference. */
    assert_int_equal(store_ref_remove(p->store, "example.org/many:1", NULL, &e), 0);
    assert_int_equal(store_gc(p->store, &(struct gc_options){.keep = &d, .nkeep = 1}, &r, &e), 0);
    assert_int_equal(r.blobs + r.rootfs, 0);
    r = pruned(p);
    assert_int_equal(r.blobs, PLACE_LAYERS_MAX + 2);
}

static void a_dry_run_counts_and_takes_nothing(void **state)
{
    struct place *p = *state;
    store_image(p->lease, "example.org/a:1", "a", 1);
    put_text(p->lease, MEDIA_OCI_LAYER, "orphan");
    place_new_lease(p);
    struct gc_result r = collected(p, &(struct gc_options){.all = true, .dry_run = true});
    assert_int_equal(r.refs, 1);
    assert_int_equal(r.blobs, 4);
    assert_int_equal(place_count(p, "blobs/sha256"), 4);
    assert_int_equal(place_count(p, "refs"), 1);
    r = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(r.refs, 1);
    assert_int_equal(r.blobs, 4);
    assert_int_equal(place_count(p, "blobs/sha256"), 0);
}

static void what_is_leased_stays(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text("some bytes");
    /* A pull at work: a layer done, one half, no reference yet. */
    put_text(p->lease, MEDIA_OCI_LAYER, "layer");
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, "some", 4, NULL), 0);
    struct gc_result r = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(r.blobs + r.partials, 0);
    blob_writer_abort(w);
    r = pruned(p); /* a half one that nobody writes, but that is leased */
    assert_int_equal(r.blobs + r.partials, 0);
    /* A leased manifest stands for all of its image, the reference too. */
    struct digest m = store_image(p->lease, "example.org/a:1", "a", 2);
    store_rootfs(p->lease, &m);
    place_new_lease(p);
    assert_int_equal(store_lease_add(p->lease, &m, NULL), 0);
    r = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(r.refs + r.rootfs, 0);
    assert_int_equal(r.blobs, 1);
    assert_int_equal(r.partials, 1);
    assert_int_equal(place_count(p, "blobs/sha256"), 4);
}

static void a_lease_ends_with_its_process(void **state)
{
    struct place *p = *state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s;
        struct store_lease *l;
        if (store_open(&s, p->path, NULL) || store_lease_begin(s, &l, NULL))
            _exit(1);
        put_text(l, MEDIA_OCI_LAYER, "of a child");
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    struct gc_result r = pruned(p);
    assert_int_equal(r.blobs, 0);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(place_count(p, "leases"), 2);
    r = pruned(p);
    assert_int_equal(r.blobs, 1);
    assert_int_equal(place_count(p, "leases"), 1);
    close(ready[0]);
    close(ready[1]);
}

static void a_broken_line_spoils_no_other(void **state)
{
    struct place *p = *state;
    char path[512], name[64] = "";
    struct descriptor d = put_text(p->lease, MEDIA_OCI_LAYER, "x");
    place_new_lease(p);
    place_file(p, path, "leases");
    char command[600];
    snprintf(command, sizeof(command), "ls %s", path);
    FILE *f = popen(command, "r");
    assert_non_null(fgets(name, sizeof(name), f));
    pclose(f);
    name[strcspn(name, "\n")] = '\0';
    place_file(p, path, "leases/%s", name);
    place_write(path, "\n1234");
    assert_int_equal(store_lease_add(p->lease, &d.digest, NULL), 0);
    assert_int_equal(pruned(p).blobs, 0);
}

static void what_is_open_stays(void **state)
{
    struct place *p = *state;
    struct digest m = store_image(p->lease, "example.org/a:1", "a", 1);
    struct descriptor d = put_text(p->lease, MEDIA_OCI_LAYER, "orphan");
    store_rootfs(p->lease, &m);
    place_new_lease(p);
    CLEANUP(fd_closep) int rootfs = store_rootfs_open(p->store, &m, NULL, NULL);
    CLEANUP(fd_closep) int blob = store_blob_open(p->store, &d.digest, NULL, NULL);
    assert_true(rootfs >= 0 && blob >= 0);
    struct gc_result r = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(r.refs + r.blobs + r.rootfs, 0);
    assert_int_equal(r.in_use, 1); /* the orphan */
    /* The lock is that of the open file: a copy of the descriptor keeps it. */
    int copy = dup(rootfs);
    close(STEAL_FD(rootfs));
    assert_int_equal(collected(p, &(struct gc_options){.all = true}).refs, 0);
    close(copy);
    r = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(r.refs, 1);
    assert_int_equal(r.rootfs, 1);
    assert_int_equal(r.in_use, 1);
    close(STEAL_FD(blob));
    assert_int_equal(pruned(p).blobs, 1);
    assert_int_equal(place_count(p, "blobs/sha256"), 0);
}

static void an_image_in_use_goes_without_its_reference_later(void **state)
{
    struct place *p = *state;
    struct digest m = store_image(p->lease, "example.org/a:1", "a", 1);
    store_rootfs(p->lease, &m);
    place_new_lease(p);
    CLEANUP(fd_closep) int fd = store_rootfs_open(p->store, &m, NULL, NULL);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", NULL, NULL), 0);
    struct gc_result r = pruned(p);
    assert_int_equal(r.rootfs, 0);
    assert_int_equal(r.in_use, 1);
    assert_int_equal(r.blobs, 3);
    close(STEAL_FD(fd));
    assert_int_equal(pruned(p).rootfs, 1);
}

static void what_the_caller_keeps_stays(void **state)
{
    struct place *p = *state;
    struct digest m = store_image(p->lease, "example.org/a:1", "a", 1);
    store_image(p->lease, "example.org/b:1", "b", 1);
    store_rootfs(p->lease, &m);
    place_new_lease(p);
    struct gc_result r = collected(p, &(struct gc_options){.all = true, .keep = &m, .nkeep = 1});
    assert_int_equal(r.refs, 1);
    assert_int_equal(r.blobs, 3);
    assert_int_equal(r.rootfs, 0);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", NULL, NULL), 0);
    r = collected(p, &(struct gc_options){.all = true, .keep = &m, .nkeep = 1});
    assert_int_equal(r.blobs + r.rootfs, 0);
    assert_int_equal(pruned(p).blobs, 3);
}

static void the_young_stay(void **state)
{
    struct place *p = *state;
    struct descriptor d = put_text(p->lease, MEDIA_OCI_LAYER, "old orphan");
    put_text(p->lease, MEDIA_OCI_LAYER, "young orphan");
    place_new_lease(p);
    make_old(p, "blobs/sha256", digest_hex(&d.digest), 100);
    struct gc_options hour = {.older_than_s = 3600}, minute = {.older_than_s = 60};
    assert_int_equal(collected(p, &hour).blobs, 0);
    assert_int_equal(collected(p, &minute).blobs, 1);
    assert_int_equal(place_count(p, "blobs/sha256"), 1);
}

static void references_grow_old_when_not_used(void **state)
{
    struct place *p = *state;
    struct image_ref a = put_image(p->lease, "example.org/a:1", "a", 1);
    struct image_ref b = put_image(p->lease, "example.org/b:1", "b", 1);
    struct gc_options all = {.all = true, .older_than_s = 60};
    struct image_list list;
    char file[300], command[256];
    assert_int_equal(store_ref_put(p->lease, &a, NULL), 0);
    assert_int_equal(store_ref_put(p->lease, &b, NULL), 0);
    place_new_lease(p);
    assert_int_equal(collected(p, &all).refs, 0);
    snprintf(command, sizeof(command), "ls %s/refs", p->path);
    FILE *f = popen(command, "r");
    while (fgets(file, sizeof(file), f)) {
        file[strcspn(file, "\n")] = '\0';
        make_old(p, "refs", file, 100);
    }
    pclose(f);
    store_ref_touch(p->store, &b);
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    assert_true(list.item[0].used_at < list.item[1].used_at);
    assert_true(list.item[0].ref.stored_at > list.item[0].used_at);
    image_list_fini(&list);
    struct gc_result r = collected(p, &all);
    assert_int_equal(r.refs, 1);
    assert_int_equal(r.blobs, 3); /* without a reference now, however young */
    assert_int_equal(store_ref_remove(p->store, "example.org/b:1", NULL, NULL), 0);
    image_ref_fini(&a);
    image_ref_fini(&b);
}

/* Two names of one image, one used and one old: which is looked at first must not matter. */
static void one_name_may_go_and_the_other_stay(void **state)
{
    struct place *p = *state;
    char command[600];
    for (int i = 0; i < 8; i++) {
        struct image_ref r = put_image(p->lease, "example.org/0:0", "a", 1);
        r.name[12] = (char)('a' + i);
        assert_int_equal(store_ref_put(p->lease, &r, NULL), 0);
        image_ref_fini(&r);
    }
    place_new_lease(p);
    snprintf(command, sizeof(command), "ls -d %s/refs/* | tail -n 7 | xargs touch -d '2 days ago'", p->path);
    assert_int_equal(system(command), 0);
    struct gc_result r = collected(p, &(struct gc_options){.all = true, .older_than_s = 86400});
    assert_int_equal(r.refs, 7);
    assert_int_equal(r.blobs, 0);
}

static void what_was_killed_leaves_no_orphan(void **state)
{
    struct place *p = *state;
    char path[512];
    struct digest d = digest_of_text("x");
    static const char *const left[] = {"partial/%s",    "partial/%s.ext4",  "locks/%s",      "locks/new.1",
                                       "partial/new.1", "partial/tmp.0123", "locks/%s.ext4", "leases/0123"};
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        int n = snprintf(path, sizeof(path), "%s/", p->path);
        /* NOLINTNEXTLINE: the formats are those above */
        snprintf(path + n, sizeof(path) - (size_t)n, left[i], digest_hex(&d));
        place_write(path, "left over");
    }
    struct gc_result r = pruned(p);
    assert_int_equal(r.partials, 4);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
    assert_int_equal(place_count(p, "leases"), 1);
}

static void what_is_being_made_stays(void **state)
{
    struct place *p = *state;
    struct rootfs_writer *r;
    struct blob_writer *w;
    struct digest m = digest_of_text("manifest");
    assert_int_equal(store_blob_create(p->lease, 100, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, "x", 1, NULL), 0);
    assert_int_equal(store_rootfs_begin(p->lease, &m, -1, &r, NULL), 0);
    place_write(rootfs_writer_path(r), "half");
    struct gc_result g = collected(p, &(struct gc_options){.all = true});
    assert_int_equal(g.partials, 0);
    assert_int_equal(g.in_use, 2);
    assert_int_equal(place_count(p, "locks"), 2);
    assert_int_equal(rootfs_writer_commit(r, -1, NULL), 0);
    blob_writer_abort(w);
}

static void an_index_that_a_name_stood_for_stays(void **state)
{
    struct place *p = *state;
    struct image_ref r = put_image(p->lease, "example.org/a:1", "a", 1);
    r.source = put_text(p->lease, MEDIA_OCI_INDEX, "{\"an\":\"index\"}").digest;
    assert_int_equal(store_ref_put(p->lease, &r, NULL), 0);
    image_ref_fini(&r);
    place_new_lease(p);
    assert_int_equal(pruned(p).blobs, 0);
}

static void a_damaged_reference_is_collected(void **state)
{
    struct place *p = *state;
    char path[512];
    store_image(p->lease, "example.org/a:1", "a", 1);
    place_new_lease(p);
    place_file(p, path, "refs/damaged.json");
    place_write(path, "{}");
    assert_int_equal(pruned(p).refs, 1);
    assert_int_equal(place_count(p, "refs"), 1);
}

/* What cannot be read now may be whole: its image must not be taken for garbage. */
static void what_cannot_be_read_is_not_garbage(void **state)
{
    struct place *p = *state;
    char path[512], aside[520];
    struct err e = {0};
    struct digest m = store_image(p->lease, "example.org/a:1", "a", 2);
    place_new_lease(p);
    place_file(p, path, "blobs/sha256/%s", digest_hex(&m));
    snprintf(aside, sizeof(aside), "%s/aside", p->dir);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink(aside, path), 0); /* links are not followed in the store: the read fails */
    assert_int_equal(store_gc(p->store, &(struct gc_options){0}, NULL, &e), -ELOOP);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(rename(aside, path), 0);
    assert_int_equal(pruned(p).blobs, 0);
    assert_int_equal(place_count(p, "blobs/sha256"), 4);
}

/* A folder where a file should be: gc says so and goes no further. */
static void what_cannot_be_removed_is_named(void **state)
{
    struct place *p = *state;
    char path[512];
    struct err e = {0};
    place_file(p, path, "blobs/sha256/odd");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(store_gc(p->store, &(struct gc_options){0}, NULL, &e) < 0);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(an_empty_store_has_no_garbage),
        T(what_a_reference_reaches_stays),
        T(an_image_beyond_the_usual_limits_stays),
        T(a_dry_run_counts_and_takes_nothing),
        T(what_is_leased_stays),
        T(a_lease_ends_with_its_process),
        T(a_broken_line_spoils_no_other),
        T(what_is_open_stays),
        T(an_image_in_use_goes_without_its_reference_later),
        T(what_the_caller_keeps_stays),
        T(the_young_stay),
        T(references_grow_old_when_not_used),
        T(one_name_may_go_and_the_other_stay),
        T(what_was_killed_leaves_no_orphan),
        T(what_is_being_made_stays),
        T(an_index_that_a_name_stood_for_stays),
        T(a_damaged_reference_is_collected),
        T(what_cannot_be_read_is_not_garbage),
        T(what_cannot_be_removed_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
