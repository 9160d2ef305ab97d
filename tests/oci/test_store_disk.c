/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that are full, read-only or somebody else's: the path is named, the class is told, nothing half is
 * left. Needs root, for a mount namespace with small disks of its own; says so when it is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

static void need_root(void)
{
    if (geteuid() == 0)
        return;
    print_message("# skipped: mounting a small disk needs root\n");
    skip();
}

/* A disk of `size` ("1m") below the place, in a mount namespace that ends with this process. */
static void mount_disk(const struct place *p, char out[256], const char *size)
{
    char option[32];
    snprintf(out, 256, "%s/disk", p->dir);
    snprintf(option, sizeof(option), "size=%s", size);
    if (mkdir(out, 0755) || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", out, "tmpfs", 0, option))
        _exit(77);
}

/* Runs in a child, so that its mounts and user are gone afterwards; a failed assertion is its exit code. */
static void in_child(void (*fn)(struct place *p), struct place *p)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        fn(p);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("# skipped: this host allows no mount namespace\n");
        skip();
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child ended with status 0x%x", (unsigned)status);
    char disk[256]; /* the mount point, seen from outside the namespace */
    snprintf(disk, sizeof(disk), "%s/disk", p->dir);
    rmdir(disk);
}

/* In the child: assertions of cmocka would return into the parent's test list. */
static void demand(bool ok, const char *what, const struct err *e)
{
    if (ok)
        return;
    fprintf(stderr, "# not so: %s (%d: %s)\n", what, e ? e->code : 0, e ? e->text : "");
    _exit(1);
}

static void fill_up(struct place *p)
{
    char disk[256], images[300];
    static char block[65536];
    struct store *s = NULL;
    struct store_lease *l = NULL;
    struct blob_writer *w;
    struct err e = {0};
    struct digest d;
    mount_disk(p, disk, "1m");
    snprintf(images, sizeof(images), "%s/images", disk);
    demand(store_open(&s, images, &e) == 0 && store_lease_begin(s, &l, &e) == 0, "the store opens", &e);
    digest_from_hex(&d, "1111111111111111111111111111111111111111111111111111111111111111");
    demand(store_blob_begin(l, &d, 8 << 20, -1, &w, &e) == 0, "a blob begins", &e);
    int ret = 0;
    for (int i = 0; i < 128 && ret == 0; i++)
        ret = blob_writer_write(w, block, sizeof(block), &e);
    demand(ret == -ENOSPC, "a full disk is told", &e);
    demand(strstr(e.text, images) && strstr(e.text, "/partial/1111"), "the path is told", &e);
    demand(strstr(e.text, "No space left") != NULL, "the reason is told", &e);
    uint64_t kept = blob_writer_offset(w);
    blob_writer_abort(w);

    /* No other blob fits, be it small. */
    struct digest other = digest_of_text("x");
    demand(store_blob_put(l, &other, "x", 1, &e) == -ENOSPC, "no other blob fits", &e);

    /* gc makes room again, and it goes on. */
    struct gc_result g;
    store_lease_end(l);
    demand(kept > 0 && store_gc(s, &(struct gc_options){0}, &g, &e) == 0, "gc runs", &e);
    demand(g.partials == 1 && g.bytes > 500000, "gc makes room", &e);
    demand(store_lease_begin(s, &l, &e) == 0, "a lease begins", &e);
    store_image(l, "example.org/a:1", "a", 2);
    store_lease_end(l);
    store_close(s);
}

static void a_full_disk_is_told(void **state)
{
    need_root();
    in_child(fill_up, *state);
}

/* Every step that writes, on a disk that is full from the start. */
static void begin_full(struct place *p)
{
    char disk[256], images[300], file[300];
    struct store *s = NULL;
    struct store_lease *l = NULL;
    struct err e = {0};
    mount_disk(p, disk, "64k");
    snprintf(images, sizeof(images), "%s/images", disk);
    demand(store_open(&s, images, &e) == 0 && store_lease_begin(s, &l, &e) == 0, "the store opens", &e);
    struct image_ref r = put_image(l, "example.org/a:1", "a", 1);
    snprintf(file, sizeof(file), "%s/filler", disk);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    static char block[4096];
    while (write(fd, block, sizeof(block)) > 0)
        ;
    demand(errno == ENOSPC, "the disk is full", NULL);
    demand(store_ref_put(l, &r, &e) == -ENOSPC && strstr(e.text, "/partial/tmp."), "a reference does not fit",
           &e);
    demand(store_blob_put(l, &(struct digest){.text = DIGEST_PREFIX "00"}, "x", 1, &e) == -ENOSPC,
           "a blob does not fit", &e);
    unlink(file);
    close(fd);
    demand(store_ref_put(l, &r, &e) == 0, "now it fits", &e);
    image_ref_fini(&r);
    store_lease_end(l);
    store_close(s);
}

static void a_reference_that_does_not_fit_is_told(void **state)
{
    need_root();
    in_child(begin_full, *state);
}

static void read_only(struct place *p)
{
    char disk[256], images[300], other[300];
    struct store *s = NULL;
    struct store_lease *l = NULL;
    struct image_ref r;
    struct platform amd;
    struct err e = {0};
    mount_disk(p, disk, "4m");
    snprintf(images, sizeof(images), "%s/images", disk);
    snprintf(other, sizeof(other), "%s/other/images", disk);
    demand(store_open(&s, images, &e) == 0 && store_lease_begin(s, &l, &e) == 0, "the store opens", &e);
    struct digest d = store_image(l, "example.org/a:1", "a", 1);
    store_rootfs(l, &d);
    store_lease_end(l);
    store_close(s);
    demand(mount("none", disk, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0, "the disk becomes read-only", NULL);
    demand(store_open(&s, images, &e) == 0, "a read-only store opens", &e);
    platform_parse(&amd, "amd64", NULL);
    demand(store_ref_get(s, "example.org/a:1", &amd, &r, &e) == 0, "its reference is read", &e);
    store_ref_touch(s, &r);
    image_ref_fini(&r);
    int fd = store_rootfs_open(s, &d, NULL, &e);
    demand(fd >= 0, "its image is opened", &e);
    close(fd);
    demand(store_lease_begin(s, &l, &e) == -EROFS && strstr(e.text, images), "nothing is written", &e);
    demand(store_ref_remove(s, "example.org/a:1", NULL, &e) == -EROFS && strstr(e.text, "/refs/"),
           "nor removed", &e);
    store_close(s);
    demand(store_open(&s, other, &e) == -EROFS && strstr(e.text, "'") && strstr(e.text, "/other'"),
           "nor made", &e);
}

static void a_read_only_store_is_read(void **state)
{
    need_root();
    in_child(read_only, *state);
}

/* As the user nobody, whom the store's folder does not let in. */
static void as_nobody(struct place *p)
{
    struct store *s = NULL;
    struct err e = {0};
    char other[300];
    if (chmod(p->dir, 0755) || setgroups(0, NULL) || setgid(65534) || setuid(65534))
        _exit(77);
    demand(store_open(&s, p->path, &e) == -EACCES && strstr(e.text, p->dir), "a stranger is kept out", &e);
    snprintf(other, sizeof(other), "%s/mine", p->dir);
    demand(store_open(&s, other, &e) == -EACCES && strstr(e.text, other), "no folder can be made", &e);
}

static void a_stranger_is_kept_out(void **state)
{
    need_root();
    in_child(as_nobody, *state);
}

/* As the user nobody, in a store that he may read only. */
static void reads_as_nobody(struct place *p)
{
    struct store *s = NULL;
    struct store_lease *l = NULL;
    struct err e = {0};
    char command[600];
    store_image(p->lease, "example.org/a:1", "a", 1);
    snprintf(command, sizeof(command), "chmod -R a+rX %s", p->dir);
    if (system(command) || setgroups(0, NULL) || setgid(65534) || setuid(65534))
        _exit(77);
    demand(store_open(&s, p->path, &e) == 0, "who may read opens it", &e);
    struct image_list list;
    demand(store_list(s, &list, &e) == 0 && list.count == 1, "and reads it", &e);
    image_list_fini(&list);
    demand(store_lease_begin(s, &l, &e) == -EACCES && strstr(e.text, "/leases/"), "but does not write", &e);
    store_close(s);
}

static void who_may_read_does_not_write(void **state)
{
    need_root();
    in_child(reads_as_nobody, *state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(a_full_disk_is_told),    T(a_reference_that_does_not_fit_is_told), T(a_read_only_store_is_read),
        T(a_stranger_is_kept_out), T(who_may_read_does_not_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
