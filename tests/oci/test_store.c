/* SPDX-License-Identifier: Apache-2.0 */
/* The store in one process: blobs, merged images, references, and what their errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../virtio/faults.h"
#include "store_place.h"

#include <sys/file.h>
#include <time.h>

#define TEXT "some bytes"

static int mode_of(const struct place *p, const char *name)
{
    char path[512];
    struct stat st;
    place_file(p, path, "%s", name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void it_is_made_for_its_owner_alone(void **state)
{
    struct place *p = *state;
    char above[512];
    struct stat st;
    assert_int_equal(mode_of(p, ""), 0700);
    assert_int_equal(mode_of(p, "blobs/sha256"), 0700);
    place_file(p, above, "..");
    assert_int_equal(stat(above, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    struct descriptor d = put_text(p->lease, MEDIA_OCI_LAYER, TEXT);
    char name[128];
    snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(&d.digest));
    assert_int_equal(mode_of(p, name), 0444);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
    assert_string_equal(store_path(p->store), p->path);
}

static void it_opens_again(void **state)
{
    struct place *p = *state;
    struct store *again;
    char version[512];
    struct err e = {0};
    struct descriptor d = put_text(p->lease, MEDIA_OCI_LAYER, TEXT);
    assert_int_equal(store_open(&again, p->path, &e), 0);
    assert_true(store_blob_exists(again, &d.digest, d.size));
    store_close(again);
    store_close(NULL);
    place_file(p, version, "version");
    unlink(version);
    place_write(version, "2\n");
    assert_int_equal(store_open(&again, p->path, &e), OCI_E_UNSUPPORTED);
    assert_non_null(strstr(e.text, p->path));
    unlink(version);
    assert_int_equal(store_open(&again, p->path, &e), 0);
    store_close(again);
    assert_int_equal(store_open(&again, version, &e), -ENOTDIR);
    assert_non_null(strstr(e.text, version));
    assert_int_equal(store_open(&again, "", &e), -EINVAL);
    assert_int_equal(store_open(&again, "/proc/nowhere/images", &e), -ENOENT);
    assert_non_null(strstr(e.text, "'/proc/nowhere'"));
}

static void a_blob_is_read_back(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct digest d = digest_of_text(TEXT);
    uint64_t size = 0;
    char buf[32] = "";
    assert_int_equal(store_blob_open(p->store, &d, &size, &e), -ENOENT);
    assert_non_null(strstr(e.text, digest_hex(&d)));
    assert_false(store_blob_exists(p->store, &d, strlen(TEXT)));
    put_text(p->lease, MEDIA_OCI_LAYER, TEXT);
    CLEANUP(fd_closep) int fd = store_blob_open(p->store, &d, &size, &e);
    assert_true(fd >= 0);
    assert_int_equal(size, strlen(TEXT));
    assert_int_equal(read(fd, buf, sizeof(buf)), strlen(TEXT));
    assert_string_equal(buf, TEXT);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true(store_blob_exists(p->store, &d, strlen(TEXT)));
    assert_false(store_blob_exists(p->store, &d, 5));
    /* There it is not written again. */
    struct blob_writer *w = NULL;
    assert_int_equal(store_blob_begin(p->lease, &d, size, -1, &w, &e), 1);
    assert_null(w);
    assert_int_equal(store_blob_put(p->lease, &d, TEXT, strlen(TEXT), &e), 0);
    assert_int_equal(store_blob_begin(p->lease, &d, 5, -1, &w, &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, "10 bytes where 5 were promised"));
}

static void an_empty_blob_is_a_blob(void **state)
{
    struct place *p = *state;
    struct digest d = digest_of_text("");
    CLEANUP(mem_freep) char *text = NULL;
    size_t len = 7;
    assert_int_equal(store_blob_put(p->lease, &d, "", 0, NULL), 0);
    assert_int_equal(store_blob_load(p->store, &d, 0, &text, &len, NULL), 0);
    assert_int_equal(len, 0);
    assert_string_equal(text, "");
}

static void an_interrupted_blob_is_resumed(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text(TEXT);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 0);
    assert_int_equal(blob_writer_write(w, TEXT, 4, NULL), 0);
    blob_writer_abort(w);
    assert_int_equal(place_count(p, "partial"), 1);
    assert_int_equal(place_count(p, "locks"), 0);
    assert_false(store_blob_exists(p->store, &d, 4));
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 4);
    assert_int_equal(blob_writer_write(w, &TEXT[4], 6, NULL), 0);
    assert_int_equal(blob_writer_commit(w, NULL), 0);
    assert_true(store_blob_exists(p->store, &d, 10));
    assert_int_equal(place_count(p, "partial"), 0);
    blob_writer_abort(NULL);
}

static void a_resumed_blob_may_start_anew(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text(TEXT);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, "wrong", 5, NULL), 0);
    blob_writer_abort(w);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 5);
    assert_int_equal(blob_writer_restart(w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 0);
    assert_int_equal(blob_writer_write(w, TEXT, 10, NULL), 0);
    assert_int_equal(blob_writer_commit(w, NULL), 0);
    assert_true(store_blob_exists(p->store, &d, 10));
}

/* After a crash a partial file may hold anything, also more than it should. */
static void a_spoilt_partial_is_never_believed(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text(TEXT);
    struct err e = {0};
    char path[512];
    place_file(p, path, "partial/%s", digest_hex(&d));
    place_write(path, "zeros or worse");
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 0);
    blob_writer_abort(w);
    place_write(path, "somE bytes");
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_offset(w), 10);
    assert_int_equal(blob_writer_commit(w, &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, d.text));
    assert_int_equal(access(path, F_OK), -1);
    assert_false(store_blob_exists(p->store, &d, 10));
    assert_int_equal(place_count(p, "locks"), 0);
}

static void wrong_lengths_are_refused(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d = digest_of_text(TEXT);
    struct err e = {0};
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, TEXT "!", 11, &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, "longer than the 10 bytes"));
    assert_int_equal(blob_writer_write(w, TEXT, 9, &e), 0);
    assert_int_equal(blob_writer_commit(w, &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, "9 bytes where 10 were promised"));
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "blobs/sha256"), 0);
}

static void a_blob_may_get_its_name_at_the_end(void **state)
{
    struct place *p = *state;
    struct blob_writer *w;
    struct digest d, wanted = digest_of_text(TEXT);
    uint64_t size;
    struct err e = {0};
    assert_int_equal(store_blob_create(p->lease, 10, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, TEXT, 10, NULL), 0);
    assert_int_equal(blob_writer_commit_new(w, p->lease, &d, &size, NULL), 0);
    assert_true(digest_equal(&d, &wanted));
    assert_int_equal(size, 10);
    assert_true(store_blob_exists(p->store, &d, 10));
    assert_int_equal(store_blob_create(p->lease, 5, &w, NULL), 0);
    assert_int_equal(blob_writer_write(w, TEXT, 6, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "layer_bytes"));
    blob_writer_abort(w);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
}

static void what_the_disk_damaged_is_told_and_replaced(void **state)
{
    struct place *p = *state;
    struct descriptor d = put_text(p->lease, MEDIA_OCI_CONFIG, TEXT);
    CLEANUP(mem_freep) char *text = NULL;
    size_t len;
    struct err e = {0};
    char path[512];
    assert_int_equal(store_blob_load(p->store, &d.digest, 9, &text, &len, &e), OCI_E_LIMIT);
    place_file(p, path, "blobs/sha256/%s", digest_hex(&d.digest));
    chmod(path, 0600);
    place_write(path, "somE bytes");
    assert_int_equal(store_blob_load(p->store, &d.digest, 10, &text, &len, &e), OCI_E_DIGEST);
    assert_non_null(strstr(e.text, "damaged"));
    assert_non_null(strstr(e.text, p->path));
    /* Who only looks leaves it; who has the bytes puts them there. */
    assert_true(store_blob_exists(p->store, &d.digest, 10));
    put_text(p->lease, MEDIA_OCI_CONFIG, TEXT);
    assert_int_equal(store_blob_load(p->store, &d.digest, 10, &text, &len, &e), 0);
    assert_string_equal(text, TEXT);
    assert_false(store_blob_remove_damaged(p->store, &d.digest));
    assert_true(store_blob_exists(p->store, &d.digest, 10));
}

static void a_second_writer_is_told_or_waits(void **state)
{
    struct place *p = *state;
    struct blob_writer *w, *other = NULL;
    struct digest d = digest_of_text(TEXT);
    struct err e = {0};
    int cancel[2];
    assert_int_equal(pipe2(cancel, O_CLOEXEC), 0);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    assert_int_equal(store_blob_try_begin(p->lease, &d, 10, &other, &e), -EAGAIN);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, cancel[0], &other, &e), -ECANCELED);
    assert_null(other);
    blob_writer_abort(w);
    assert_int_equal(store_blob_try_begin(p->lease, &d, 10, &other, &e), 0);
    blob_writer_abort(other);
    close(cancel[0]);
    close(cancel[1]);
}

/* Who waits for another's download asks some twenty times a second, for as long as that takes. */
static void a_lease_does_not_grow_while_its_owner_waits(void **state)
{
    struct place *p = *state;
    struct blob_writer *w, *other = NULL;
    struct digest d = digest_of_text(TEXT), more = digest_of_text("another");
    struct store_lease *waiting;
    assert_int_equal(store_lease_begin(p->store, &waiting, NULL), 0);
    assert_int_equal(store_blob_begin(p->lease, &d, 10, -1, &w, NULL), 0);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(store_blob_try_begin(waiting, &d, 10, &other, NULL), -EAGAIN);
        assert_int_equal(store_lease_add(waiting, &more, NULL), 0);
    }
    char command[300], lines[16] = "";
    snprintf(command, sizeof(command), "cat %s/leases/* | grep -c .", p->path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(lines, sizeof(lines), f));
    pclose(f);
    assert_int_equal(atoi(lines), 3); /* one of the writer, two of who waits */
    blob_writer_abort(w);
    store_lease_end(waiting);
}

static void a_merged_image_is_made_once(void **state)
{
    struct place *p = *state;
    struct digest d = digest_of_text("manifest");
    struct rootfs_writer *w, *other;
    struct err e = {0};
    uint64_t size;
    int cancel[2];
    assert_int_equal(pipe2(cancel, O_CLOEXEC), 0);
    assert_int_equal(write(cancel[1], "x", 1), 1);
    assert_int_equal(store_rootfs_open(p->store, &d, &size, &e), -ENOENT);
    assert_int_equal(store_rootfs_begin(p->lease, &d, -1, &w, &e), 0);
    assert_int_equal(access(rootfs_writer_path(w), F_OK), -1);
    place_write(rootfs_writer_path(w), "half a file system");
    assert_int_equal(store_rootfs_begin(p->lease, &d, cancel[0], &other, &e), -ECANCELED);
    rootfs_writer_abort(w);
    assert_int_equal(place_count(p, "partial"), 0);
    /* What was killed leaves a file, which is not taken up. */
    char path[512];
    place_file(p, path, "partial/%s.ext4", digest_hex(&d));
    place_write(path, "left over");
    assert_int_equal(store_rootfs_begin(p->lease, &d, -1, &w, &e), 0);
    assert_string_equal(rootfs_writer_path(w), path);
    assert_int_equal(access(path, F_OK), -1);
    place_write(path, "a whole file system");
    assert_int_equal(rootfs_writer_commit(w, -1, &e), 0);
    assert_int_equal(store_rootfs_begin(p->lease, &d, -1, &w, &e), 1);
    CLEANUP(fd_closep) int fd = store_rootfs_open(p->store, &d, &size, &e);
    assert_true(fd >= 0);
    assert_int_equal(size, 19);
    CLEANUP(mem_freep) char *complete = store_rootfs_path(p->store, &d);
    assert_int_equal(access(complete, R_OK), 0);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
    rootfs_writer_abort(NULL);
    close(cancel[0]);
    close(cancel[1]);
}

static void writing_a_merged_image_out_can_be_given_up(void **state)
{
    struct place *p = *state;
    struct digest d = digest_of_text("manifest");
    struct rootfs_writer *w;
    struct err e = {0};
    int cancel[2];
    assert_int_equal(pipe2(cancel, O_CLOEXEC), 0);
    assert_int_equal(store_rootfs_begin(p->lease, &d, cancel[0], &w, &e), 0);
    place_write(rootfs_writer_path(w), "a whole file system");
    assert_int_equal(write(cancel[1], "x", 1), 1);
    assert_int_equal(rootfs_writer_commit(w, cancel[0], &e), -ECANCELED);
    assert_int_equal(place_count(p, "partial") + place_count(p, "rootfs") + place_count(p, "locks"), 0);
    close(cancel[0]);
    close(cancel[1]);
}

static void a_merge_that_made_nothing_fails(void **state)
{
    struct place *p = *state;
    struct digest d = digest_of_text("manifest");
    struct rootfs_writer *w;
    struct err e = {0};
    assert_int_equal(store_rootfs_begin(p->lease, &d, -1, &w, &e), 0);
    assert_int_equal(rootfs_writer_commit(w, -1, &e), -ENOENT);
    assert_non_null(strstr(e.text, digest_hex(&d)));
    assert_int_equal(place_count(p, "locks"), 0);
}

static void a_reference_is_found_by_name_and_id(void **state)
{
    struct place *p = *state;
    struct image_ref r, copy;
    struct platform amd, arm;
    struct err e = {0};
    char id[DIGEST_HEX_LEN + 1];
    platform_parse(&amd, "linux/amd64", NULL);
    platform_parse(&arm, "linux/arm64", NULL);
    struct digest d = store_image(p->lease, "docker.io/library/a:1", "x", 2);
    assert_int_equal(store_ref_get(p->store, "docker.io/library/a:1", &amd, &r, &e), 0);
    assert_string_equal(r.name, "docker.io/library/a:1");
    assert_true(digest_equal(&r.manifest.digest, &d));
    assert_true(digest_equal(&r.source, &d));
    assert_string_equal(r.manifest.media_type, MEDIA_OCI_MANIFEST);
    assert_true(platform_equal(&r.platform, &amd));
    assert_true(r.stored_at >= time(NULL) - 60 && r.stored_at <= time(NULL));
    assert_int_equal(image_ref_copy(&copy, &r, &e), 0);
    assert_string_equal(copy.name, r.name);
    image_ref_fini(&copy);
    image_ref_fini(&r);
    assert_int_equal(store_ref_get(p->store, "docker.io/library/a:1", &arm, &r, &e), OCI_E_NOT_FOUND);
    assert_int_equal(store_ref_get(p->store, "docker.io/library/a:2", &amd, &r, &e), OCI_E_NOT_FOUND);
    assert_non_null(strstr(e.text, "'docker.io/library/a:2'"));

    snprintf(id, 13, "%s", digest_hex(&d));
    assert_int_equal(store_ref_find(p->store, id, &r, &e), 0);
    assert_string_equal(r.name, "docker.io/library/a:1");
    image_ref_fini(&r);
    assert_int_equal(store_ref_find(p->store, d.text, &r, &e), 0);
    image_ref_fini(&r);
    id[3] = '\0';
    assert_int_equal(store_ref_find(p->store, id, &r, &e), OCI_E_NOT_FOUND);
    assert_int_equal(store_ref_find(p->store, "0000000", &r, &e), OCI_E_NOT_FOUND);
    assert_int_equal(store_ref_find(p->store, "no hex", &r, &e), OCI_E_NOT_FOUND);
    assert_int_equal(store_ref_find(p->store, "../../../", &r, &e), OCI_E_NOT_FOUND);
}

static void a_short_id_must_be_unique(void **state)
{
    struct place *p = *state;
    struct image_ref r;
    struct err e = {0};
    /* Images until two share four digits; their texts are always the same, so it is always the same two. */
    char seen[700][5], name[64];
    for (int i = 0; i < 700; i++) {
        snprintf(name, sizeof(name), "example.org/i:%d", i);
        struct digest d = store_image(p->lease, name, "same", 1);
        snprintf(seen[i], 5, "%.4s", digest_hex(&d));
        for (int k = 0; k < i; k++) {
            if (strcmp(seen[k], seen[i]) != 0)
                continue;
            assert_int_equal(store_ref_find(p->store, seen[i], &r, &e), OCI_E_AMBIGUOUS);
            assert_non_null(strstr(e.text, seen[i]));
            assert_int_equal(store_ref_find(p->store, d.text, &r, &e), 0);
            assert_string_equal(r.name, name);
            image_ref_fini(&r);
            return;
        }
    }
    fail_msg("no two of 700 digests share four digits");
}

static void names_of_one_image_are_no_ambiguity(void **state)
{
    struct place *p = *state;
    struct image_ref r = put_image(p->lease, "example.org/b:1", "x", 1);
    struct err e = {0};
    assert_int_equal(store_ref_put(p->lease, &r, &e), 0);
    r.name[12] = 'a';
    assert_int_equal(store_ref_put(p->lease, &r, &e), 0);
    struct digest d = r.manifest.digest;
    image_ref_fini(&r);
    assert_int_equal(store_ref_find(p->store, d.text, &r, &e), 0);
    assert_string_equal(r.name, "example.org/a:1");
    image_ref_fini(&r);
}

static void a_reference_is_replaced_and_removed(void **state)
{
    struct place *p = *state;
    struct image_ref r;
    struct platform amd, arm;
    struct err e = {0};
    platform_parse(&amd, "linux/amd64", NULL);
    platform_parse(&arm, "linux/arm64", NULL);
    store_image(p->lease, "example.org/a:1", "x", 1);
    struct digest d = store_image(p->lease, "example.org/a:1", "y", 1);
    assert_int_equal(place_count(p, "refs"), 1);
    assert_int_equal(store_ref_get(p->store, "example.org/a:1", &amd, &r, &e), 0);
    assert_true(digest_equal(&r.manifest.digest, &d));
    r.platform = arm;
    assert_int_equal(store_ref_put(p->lease, &r, &e), 0);
    image_ref_fini(&r);
    assert_int_equal(place_count(p, "refs"), 2);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", &arm, &e), 0);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", &arm, &e), OCI_E_NOT_FOUND);
    assert_int_equal(place_count(p, "refs"), 1);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", NULL, &e), 0);
    assert_int_equal(store_ref_remove(p->store, "example.org/a:1", NULL, &e), OCI_E_NOT_FOUND);
    assert_non_null(strstr(e.text, "example.org/a:1"));
    assert_int_equal(place_count(p, "refs"), 0);
}

static void an_image_that_lacks_a_blob_gets_no_reference(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    char path[512];
    struct image_ref r = put_image(p->lease, "example.org/a:1", "x", 2);
    struct digest layer = digest_of_text("layer x 1");
    place_file(p, path, "blobs/sha256/%s", digest_hex(&layer));
    unlink(path);
    assert_int_equal(store_ref_put(p->lease, &r, &e), OCI_E_NOT_FOUND);
    assert_non_null(strstr(e.text, layer.text));
    place_file(p, path, "blobs/sha256/%s", digest_hex(&r.manifest.digest));
    unlink(path);
    assert_int_equal(store_ref_put(p->lease, &r, &e), OCI_E_NOT_FOUND);
    assert_int_equal(e.code, OCI_E_NOT_FOUND);
    assert_non_null(strstr(e.text, r.manifest.digest.text));
    assert_int_equal(place_count(p, "refs"), 0);
    image_ref_fini(&r);
    char long_name[70000];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    r = put_image(p->lease, "example.org/a:1", "x", 2);
    free(r.name);
    r.name = strdup(long_name);
    assert_int_equal(store_ref_put(p->lease, &r, &e), -ENAMETOOLONG);
    image_ref_fini(&r);
}

static void the_list_tells_sizes_and_use(void **state)
{
    struct place *p = *state;
    struct image_list list;
    struct err e = {0};
    assert_int_equal(store_list(p->store, &list, &e), 0);
    assert_int_equal(list.count, 0);
    image_list_fini(&list);
    store_image(p->lease, "example.org/b:1", "x", 2);
    struct digest a = store_image(p->lease, "example.org/a:1", "x", 1);
    store_rootfs(p->lease, &a);
    assert_int_equal(store_list(p->store, &list, &e), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.item[0].ref.name, "example.org/a:1");
    assert_string_equal(list.item[1].ref.name, "example.org/b:1");
    assert_true(list.item[0].rootfs_size >= 13);
    assert_int_equal(list.item[1].rootfs_size, 0);
    assert_false(list.item[0].in_use);
    struct manifest m;
    struct image_config c;
    assert_int_equal(store_manifest_load(p->store, &a, NULL, &m, &e), 0);
    assert_int_equal(list.item[0].size, list.item[0].ref.manifest.size + m.config.size + strlen("layer x 0"));
    assert_int_equal(store_config_load(p->store, &m, NULL, &c, &e), 0);
    assert_string_equal(c.env[0], "NAME=example.org/a:1");
    image_config_fini(&c);
    m.nlayers = 0;
    assert_int_equal(store_config_load(p->store, &m, NULL, &c, &e), OCI_E_FORMAT);
    assert_non_null(strstr(e.text, "0 layers, its configuration speaks of 1"));
    manifest_fini(&m);
    image_list_fini(&list);
    int fd = store_rootfs_open(p->store, &a, NULL, &e);
    assert_int_equal(store_list(p->store, &list, &e), 0);
    assert_true(list.item[0].in_use);
    image_list_fini(&list);
    close(fd);
}

static void a_damaged_reference_harms_no_other(void **state)
{
    struct place *p = *state;
    struct image_list list;
    char path[512];
    static const char *const text[] = {
        "",
        "{\"name\":\"x\"}",
        "{\"name\":\"x\",\"source\":\"\",\"stored_at\":1,\"manifest\":{}}",
        "{\"name\":\"x\",\"source\":\"sha256:1\",\"stored_at\":1,\"manifest\":{\"mediaType\":\"x\",\"size\":"
        "1,"
        "\"digest\":\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"}}",
        "{\"name\":\"x\",\"source\":\"\",\"platform\":[],\"stored_at\":1}",
    };
    struct digest d = store_image(p->lease, "example.org/a:1", "x", 1);
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        place_file(p, path, "refs/damaged%zu.json", i);
        place_write(path, text[i]);
    }
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    assert_int_equal(list.count, 1);
    image_list_fini(&list);
    struct image_ref r;
    assert_int_equal(store_ref_find(p->store, d.text, &r, NULL), 0);
    image_ref_fini(&r);
}

/* One store operation after the other, each undone at once. */
struct trial {
    struct place *place;
    struct store *store;
    struct store_lease *lease;
    struct blob_writer *writer;
    struct rootfs_writer *rootfs;
    struct digest digest;
    struct image_list list;
    struct image_ref ref;
};

static int try_open(void *arg)
{
    struct trial *t = arg;
    return store_open(&t->store, t->place->path, NULL);
}
static void undo_open(void *arg)
{
    store_close(((struct trial *)arg)->store);
}
static int try_lease(void *arg)
{
    struct trial *t = arg;
    return store_lease_begin(t->place->store, &t->lease, NULL);
}
static void undo_lease(void *arg)
{
    store_lease_end(((struct trial *)arg)->lease);
}
static int try_blob(void *arg)
{
    struct trial *t = arg;
    return store_blob_begin(t->place->lease, &t->digest, 10, -1, &t->writer, NULL);
}
static void undo_blob(void *arg)
{
    blob_writer_abort(((struct trial *)arg)->writer);
}
static int try_rootfs(void *arg)
{
    struct trial *t = arg;
    return store_rootfs_begin(t->place->lease, &t->digest, -1, &t->rootfs, NULL);
}
static void undo_rootfs(void *arg)
{
    rootfs_writer_abort(((struct trial *)arg)->rootfs);
}
static int try_put(void *arg)
{
    struct trial *t = arg;
    return store_ref_put(t->place->lease, &t->ref, NULL);
}
static int try_remove(void *arg)
{
    struct trial *t = arg;
    return store_ref_remove(t->place->store, t->ref.name, &t->ref.platform, NULL);
}
static int try_gc(void *arg)
{
    struct trial *t = arg;
    return store_gc(t->place->store, &(struct gc_options){0}, NULL, NULL);
}
static void undo_nothing(void *arg)
{
    (void)arg;
}

static void a_lack_of_descriptors_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct trial t = {.place = p, .digest = digest_of_text(TEXT)};
    t.ref = put_image(p->lease, "example.org/a:1", "x", 2);
    assert_true(fds_run_out(try_open, undo_open, &t) >= 8);
    assert_true(fds_run_out(try_lease, undo_lease, &t) >= 2);
    assert_true(fds_run_out(try_blob, undo_blob, &t) >= 2);
    assert_true(fds_run_out(try_rootfs, undo_rootfs, &t) >= 1);
    assert_true(fds_run_out(try_put, undo_nothing, &t) >= 2);
    assert_true(fds_run_out(try_remove, undo_nothing, &t) >= 1);
    /* What cannot be read now must not be taken for damaged, and collected. */
    assert_int_equal(try_put(&t), 0);
    place_new_lease(p);
    assert_true(fds_run_out(try_gc, undo_nothing, &t) > 2);
    assert_int_equal(place_count(p, "refs"), 1);
    assert_int_equal(place_count(p, "blobs/sha256"), 4);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
    assert_int_equal(place_count(p, "leases"), 1);
    image_ref_fini(&t.ref);
}

static void a_lack_of_descriptors_names_the_store(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    struct store *s;
    struct rlimit old = fds_limit(0);
    int ret = store_open(&s, p->path, &e);
    fds_unlimit(&old);
    assert_int_equal(ret, -EMFILE);
    assert_non_null(strstr(e.text, p->path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(it_is_made_for_its_owner_alone),
        T(it_opens_again),
        T(a_blob_is_read_back),
        T(an_empty_blob_is_a_blob),
        T(an_interrupted_blob_is_resumed),
        T(a_resumed_blob_may_start_anew),
        T(a_spoilt_partial_is_never_believed),
        T(wrong_lengths_are_refused),
        T(a_blob_may_get_its_name_at_the_end),
        T(what_the_disk_damaged_is_told_and_replaced),
        T(a_second_writer_is_told_or_waits),
        T(a_lease_does_not_grow_while_its_owner_waits),
        T(a_merged_image_is_made_once),
        T(writing_a_merged_image_out_can_be_given_up),
        T(a_merge_that_made_nothing_fails),
        T(a_reference_is_found_by_name_and_id),
        T(a_short_id_must_be_unique),
        T(names_of_one_image_are_no_ambiguity),
        T(a_reference_is_replaced_and_removed),
        T(an_image_that_lacks_a_blob_gets_no_reference),
        T(the_list_tells_sizes_and_use),
        T(a_damaged_reference_harms_no_other),
        T(a_lack_of_descriptors_leaves_nothing),
        T(a_lack_of_descriptors_names_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
