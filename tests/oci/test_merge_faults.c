/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making an image with each allocation and each system call of ours failing once: the failure is told, and
 * nothing is left of the image, neither a file nor a descriptor nor memory (that the sanitizers watch). The
 * linker puts the functions below in the place of the C library's for our objects alone (tests/rules.mk).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/media_type.h"
#include "oci/merge.h"
#include "tar_maker.h"

#include "oci/ext4.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The inflater's thread allocates as well. */
static struct {
    atomic_int at, count; /* the call that fails, from 1, or 0; how many there were */
    atomic_bool hit;
    atomic_int error; /* what it failed with */
} calls;

static void calls_watch(int at)
{
    calls.at = at;
    calls.count = 0;
    calls.hit = false;
    calls.error = 0;
}

static bool chosen(int error)
{
    if (atomic_fetch_add(&calls.count, 1) + 1 != calls.at)
        return false;
    calls.hit = true;
    calls.error = errno = error;
    return true;
}

/* NOLINTBEGIN(readability-identifier-naming,bugprone-reserved-identifier) */
#define WRAP(type, name, parameters, arguments, error, failure)                                              \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return chosen(error) ? (failure) : __real_##name arguments;                                          \
    }

WRAP(void *, malloc, (size_t n), (n), ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
WRAP(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL)
WRAP(char *, strdup, (const char *s), (s), ENOMEM, NULL)
WRAP(locale_t, newlocale, (int mask, const char *name, locale_t base), (mask, name, base), ENOMEM,
     (locale_t)0)
WRAP(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode), EACCES, -1)
WRAP(ssize_t, pread, (int fd, void *buf, size_t n, off_t at), (fd, buf, n, at), EIO, -1)
WRAP(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at), ENOSPC, -1)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), EIO, -1)
WRAP(int, fallocate, (int fd, int mode, off_t at, off_t n), (fd, mode, at, n), EIO, -1)
/* NOLINTEND(readability-identifier-naming,bugprone-reserved-identifier) */

struct place {
    char dir[64], path[128];
    struct tar_maker layers[2];
};

static int set_up(void **state)
{
    static struct place p;
    p = (struct place){.dir = "/tmp/cubby-test-XXXXXX"};
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.path, sizeof(p.path), "%s/img", p.dir);
    *state = &p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    tar_free(&p->layers[0]);
    tar_free(&p->layers[1]);
    unlink(p->path);
    return rmdir(p->dir);
}

static int count_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

/* Does `work` with its first call failing, its second…, until a fault is not met any more. Returns how many
 * were met. */
static int fail_each(struct place *p, int (*work)(struct place *p, struct err *e))
{
    for (int at = 1;; at++) {
        struct err e = {0};
        int before = count_descriptors();
        calls_watch(at);
        int ret = work(p, &e);
        bool hit = calls.hit;
        int error = calls.error;
        calls_watch(0);
        assert_int_equal(count_descriptors(), before);
        if (!hit) {
            assert_int_equal(ret, 0);
            assert_int_equal(unlink(p->path), 0);
            return at - 1;
        }
        if (ret != -error || e.code != ret || !e.text[0])
            fail_msg("call %d: %s, and it gave %d (%d: %s)", at, strerror(error), ret, e.code, e.text);
        assert_int_equal(access(p->path, F_OK), -1);
    }
}

static int create_image(struct place *p, struct err *e)
{
    struct ext4_image *img;
    struct ext4_params params = {.label = "x"};
    int ret = ext4_image_create(&img, p->path, &params, e);
    return ret < 0 ? ret : ext4_image_close(img, e);
}

static void an_ext4_image_that_fails_leaves_nothing(void **state)
{
    assert_true(fail_each(*state, create_image) > 12);
}

struct memory {
    const struct tar_maker *tar;
    size_t at;
};

static ssize_t read_memory(void *ctx, void *buf, size_t n, struct err *e)
{
    (void)e;
    struct memory *m = ctx;
    size_t left = m->tar->len - m->at;
    n = n < left ? n : left;
    memcpy(buf, m->tar->data + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

static int merge(struct place *p, struct err *e)
{
    struct merge *m;
    struct merge_params params = {.label = "x"};
    int ret = merge_create(&m, p->path, &params, e);
    if (ret < 0)
        return ret;
    for (unsigned i = 0; i < 2 && ret == 0; i++) {
        struct memory memory = {&p->layers[i], 0};
        struct byte_source source = {.read = read_memory, .ctx = &memory};
        struct layer_info info = {.index = i, .media_type = MEDIA_OCI_LAYER};
        ret = merge_layer(m, &info, &source, e);
    }
    if (ret == 0)
        return merge_finish(m, e);
    merge_abort(m);
    return ret;
}

static void a_merge_that_fails_leaves_nothing(void **state)
{
    struct place *p = *state;
    char large[20000];
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    tar_file(&p->layers[0], "folder/file", "text");
    tar_file(&p->layers[0], "large", large);
    tar_symlink(&p->layers[0], "link", "folder/file");
    tar_file(&p->layers[1], "large", large); /* its blocks are given back, and taken again */
    tar_file(&p->layers[1], "folder/.wh.file", "");
    assert_true(fail_each(p, merge) > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        T(an_ext4_image_that_fails_leaves_nothing),
        T(a_merge_that_fails_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
