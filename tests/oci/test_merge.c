/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merge: what hostile and damaged layers do, that the result depends on the layers alone, and what of
 * tar's dialects arrives. What honest layers become is compared with another tool in merge_compare.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "image_reader.h"
#include "oci/media_type.h"
#include "oci/merge.h"
#include "oci/oci_error.h"
#include "tar_maker.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define LAYERS_MAX 4

struct place {
    char dir[64], path[128];
    struct tar_maker layers[LAYERS_MAX];
    struct oci_limits limits;
    size_t step; /* bytes that the source gives at once */
    bool (*cancelled)(void *ctx);
    struct err e;
};

static int set_up(void **state)
{
    static struct place p;
    p = (struct place){.dir = "/tmp/cubby-test-XXXXXX", .step = SIZE_MAX};
    oci_limits_init(&p.limits);
    if (!mkdtemp(p.dir))
        return -1;
    snprintf(p.path, sizeof(p.path), "%s/img", p.dir);
    *state = &p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;
    for (int i = 0; i < LAYERS_MAX; i++)
        tar_free(&p->layers[i]);
    unlink(p->path);
    return rmdir(p->dir);
}

struct memory {
    const struct tar_maker *tar;
    size_t at, step;
};

static ssize_t read_memory(void *ctx, void *buf, size_t n, struct err *e)
{
    (void)e;
    struct memory *m = ctx;
    size_t left = m->tar->len - m->at;
    n = n < left ? n : left;
    n = n < m->step ? n : m->step;
    if (n)
        memcpy(buf, m->tar->data + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

/* Merges the layers that hold something. The code, with the text in p->e. */
static int merge(struct place *p)
{
    struct merge *m;
    struct merge_params params = {.limits = &p->limits, .uuid = "a test's own id", .cancelled = p->cancelled};
    p->e = (struct err){0};
    assert_int_equal(merge_create(&m, p->path, &params, &p->e), 0);
    for (unsigned i = 0; i < LAYERS_MAX && p->layers[i].len; i++) {
        struct memory memory = {&p->layers[i], 0, p->step};
        struct byte_source source = {.read = read_memory, .ctx = &memory};
        struct layer_info info = {.index = i, .media_type = MEDIA_OCI_LAYER};
        int ret = merge_layer(m, &info, &source, &p->e);
        if (ret < 0) {
            assert_int_equal(p->e.code, ret);
            merge_abort(m);
            assert_int_equal(access(p->path, F_OK), -1);
            return ret;
        }
    }
    return merge_finish(m, &p->e);
}

static ext2_filsys merge_and_open(struct place *p)
{
    int ret = merge(p);
    if (ret < 0)
        print_message("%s\n", p->e.text);
    assert_int_equal(ret, 0);
    assert_true(image_is_clean(p->path));
    ext2_filsys fs = image_open(p->path);
    assert_non_null(fs);
    return fs;
}

/* The layers are refused with `code`, and the text names layer, entry and cause. */
static void refused(struct place *p, int code, const char *layer, const char *entry, const char *cause)
{
    int ret = merge(p);
    if (ret != code || !strstr(p->e.text, layer) || !strstr(p->e.text, entry) || !strstr(p->e.text, cause))
        print_message("%d: %s\n", ret, p->e.text);
    assert_int_equal(ret, code);
    assert_non_null(strstr(p->e.text, layer));
    assert_non_null(strstr(p->e.text, entry));
    assert_non_null(strstr(p->e.text, cause));
}

/* --- the host --- */

/* A limit on the size of files is the host's, not the layer's fault: at an entry, and at the end. */
static void a_file_that_the_host_does_not_take_is_its_failure(void **state)
{
    struct place *p = *state;
    struct rlimit old, small = {.rlim_cur = 4 << 20};
    size_t len = 8 << 20;
    char *text = malloc(len + 1);
    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = '\0';
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    tar_file(&p->layers[0], "large", text);
    assert_int_equal(merge(p), -EFBIG);
    assert_non_null(strstr(p->e.text, "entry 'large'"));
    tar_free(&p->layers[0]);
    tar_file(&p->layers[0], "small", "text");
    assert_int_equal(merge(p), -EFBIG);
    assert_non_null(strstr(p->e.text, "cannot finish image"));
    assert_int_equal(access(p->path, F_OK), -1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    free(text);
}

static bool given_up(void *ctx)
{
    return *(bool *)ctx;
}

/* All layers are in, and what remains to be written may be much. */
static void finishing_can_be_given_up(void **state)
{
    struct place *p = *state;
    bool flag = false;
    struct merge_params params = {.limits = &p->limits, .cancelled = given_up, .ctx = &flag};
    struct merge *m;
    tar_file(&p->layers[0], "folder/file", "text");
    struct memory memory = {&p->layers[0], 0, SIZE_MAX};
    struct byte_source source = {.read = read_memory, .ctx = &memory};
    struct layer_info info = {.media_type = MEDIA_OCI_LAYER};
    assert_int_equal(merge_create(&m, p->path, &params, &p->e), 0);
    assert_int_equal(merge_layer(m, &info, &source, &p->e), 0);
    flag = true;
    assert_int_equal(merge_finish(m, &p->e), -ECANCELED);
    assert_non_null(strstr(p->e.text, "interrupted"));
    assert_int_equal(access(p->path, F_OK), -1);
}

/* --- hostile --- */

static void paths_stay_inside(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    tar_file(t, "../../up", "1");
    tar_file(t, "/abs", "2");
    tar_file(t, "a/../../../b", "3");
    tar_symlink(t, "out", "/../../..");
    tar_symlink(t, "host", "/tmp");
    tar_file(t, "out/through", "4");
    tar_file(t, "host/cubby-escaped", "5");
    tar_link(t, "hard", "../../../../up");
    ext2_filsys fs = merge_and_open(p);
    assert_true(image_file_is(fs, "/up", "1"));
    assert_true(image_file_is(fs, "/abs", "2"));
    assert_true(image_file_is(fs, "/b", "3"));
    assert_true(image_file_is(fs, "/through", "4"));
    assert_true(image_file_is(fs, "/tmp/cubby-escaped", "5"));
    assert_true(image_file_is(fs, "/hard", "1"));
    ext2fs_free(fs);
    assert_int_equal(access("/tmp/cubby-escaped", F_OK), -1);
}

static void links_to_nowhere_are_refused(void **state)
{
    struct place *p = *state;
    tar_link(&p->layers[0], "l", "../../../etc/passwd");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'l'", "'../../../etc/passwd', which is not there");
    p->layers[0].len = 0;
    tar_dir(&p->layers[0], "d");
    tar_link(&p->layers[0], "l", "d");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'l'", "a folder");
    p->layers[0].len = 0;
    tar_link(&p->layers[0], "l", "/");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'l'", "a folder");
    p->layers[0].len = 0;
    tar_file(&p->layers[0], "l", "x");
    tar_link(&p->layers[0], "l", "l"); /* replaces its own target */
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'l'", "not there");
}

static void circles_of_links_end(void **state)
{
    struct place *p = *state;
    tar_symlink(&p->layers[0], "a", "b");
    tar_symlink(&p->layers[0], "b", "a");
    tar_file(&p->layers[1], "a/file", "x");
    refused(p, OCI_E_FORMAT, "layer 1: ", "entry 'a/file'", "255 symbolic links");
}

static void a_path_through_a_file_is_refused(void **state)
{
    struct place *p = *state;
    tar_file(&p->layers[0], "f", "x");
    tar_file(&p->layers[1], "f/below", "x");
    refused(p, OCI_E_FORMAT, "layer 1: ", "entry 'f/below'", "'f' on its way is not a folder");
}

/* A device is an inode that is written down: none is opened here, whatever follows in the archive. */
static void nothing_goes_through_a_device(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    tar_header(t, '3', "null", "", 0);
    tar_file(t, "null", "replaced");
    tar_header(t, '4', "disk", "", 0);
    tar_link(t, "again", "disk");
    tar_symlink(t, "alias", "disk");
    tar_file(t, "again", "not the disk");
    tar_file(t, "alias", "nor here");
    ext2_filsys fs = merge_and_open(p);
    struct ext2_inode_large disk;
    ext2_ino_t ino;
    assert_true(image_file_is(fs, "/null", "replaced"));
    assert_true(image_file_is(fs, "/again", "not the disk"));
    assert_true(image_file_is(fs, "/alias", "nor here"));
    assert_true(image_stat(fs, "/disk", &ino, &disk));
    assert_true(LINUX_S_ISBLK(disk.i_mode) && disk.i_links_count == 1);
    ext2fs_free(fs);
    tar_file(&p->layers[1], "alias/below", "x");
    refused(p, OCI_E_FORMAT, "layer 1: ", "entry 'alias/below'", "not a folder");
    p->layers[1].len = 0;
    tar_file(&p->layers[1], "disk/below", "x");
    refused(p, OCI_E_FORMAT, "layer 1: ", "entry 'disk/below'", "'disk' on its way is not a folder");
}

static void whiteouts_of_a_folder_itself_are_refused(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {".wh.", "d/.wh.", ".wh..", ".wh...", "d/.wh..."};
    for (int i = 0; i < 5; i++) {
        p->layers[0].len = 0;
        tar_file(&p->layers[0], names[i], "");
        refused(p, OCI_E_FORMAT, "layer 0: ", names[i], "cannot take away the folder that it is in");
    }
}

static void the_root_stays_a_folder(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"/", ".", "..", "a/..", "./"};
    for (int i = 0; i < 5; i++) {
        p->layers[0].len = 0;
        tar_symlink(&p->layers[0], names[i], "/etc");
        refused(p, OCI_E_FORMAT, "layer 0: ", "entry '", "the root can only be a folder");
    }
}

static void all_may_go_but_the_root(void **state)
{
    struct place *p = *state;
    tar_dir(&p->layers[0], "a");
    tar_file(&p->layers[0], "a/f", "x");
    tar_file(&p->layers[1], ".wh..wh..opq", "");
    ext2_filsys fs = merge_and_open(p);
    assert_false(image_has(fs, "/a"));
    ext2fs_free(fs);
}

static void the_last_of_equal_entries_counts(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    tar_file(t, "f", "one");
    tar_file(t, "./f", "two");
    tar_dir(t, "d");
    tar_file(t, "d/in", "x");
    tar_file(t, "d", "now a file");
    tar_symlink(t, "s", "f");
    tar_file(t, "s", "not through it");
    ext2_filsys fs = merge_and_open(p);
    assert_true(image_file_is(fs, "/f", "two"));
    assert_true(image_file_is(fs, "/d", "now a file"));
    assert_true(image_file_is(fs, "/s", "not through it"));
    ext2fs_free(fs);
}

static void names_are_printed_safely(void **state)
{
    struct place *p = *state;
    tar_link(&p->layers[0], "bad\x1b[2J'\n\xff", "gone");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'bad\\033[2J\\047\\012\\377'", "'gone'");
}

static void numbers_beyond_bounds_are_refused(void **state)
{
    struct place *p = *state;
    static const struct {
        const char *key, *value;
        int code;
    } bad[] = {
        {"uid", "4294967296", OCI_E_FORMAT},
        {"gid", "-1", OCI_E_FORMAT},
        {"SCHILY.realsize", "9000000000000000", OCI_E_LIMIT},
        {"size", "-5", OCI_E_FORMAT},
        {"path", "", 0},
        {"GNU.sparse.map", "0,1,x", OCI_E_FORMAT},
    };
    for (int i = 0; i < 6; i++) {
        p->layers[0].len = 0;
        tar_pax_text(&p->layers[0], bad[i].key, bad[i].value);
        tar_file(&p->layers[0], "f", "x");
        int ret = merge(p);
        if (ret != bad[i].code)
            print_message("%s=%s: %d %s\n", bad[i].key, bad[i].value, ret, p->e.text);
        assert_int_equal(ret, bad[i].code);
    }
    p->layers[0].len = 0;
    tar_pax_text(&p->layers[0], "SCHILY.devmajor", "5000");
    tar_header(&p->layers[0], '3', "dev", "", 0);
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'dev'", "device");
}

static void names_that_are_too_long_are_refused(void **state)
{
    struct place *p = *state;
    char path[5000];
    memset(path, 'n', sizeof(path));
    tar_pax(&p->layers[0], "path", path, 256);
    tar_file(&p->layers[0], "f", "x");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'nnn", "a name of 256 bytes");
    p->layers[0].len = 0;
    tar_pax(&p->layers[0], "path", path, 5000);
    tar_file(&p->layers[0], "f", "x");
    refused(p, OCI_E_LIMIT, "layer 0: ", "…nnn", "(path_bytes)");
    p->layers[0].len = 0;
    tar_pax(&p->layers[0], "linkpath", path, 4096);
    tar_symlink(&p->layers[0], "s", "x");
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 's'", "symbolic link");
}

static void attributes_that_do_not_fit_are_refused(void **state)
{
    struct place *p = *state;
    static char value[6000];
    tar_pax(&p->layers[0], "SCHILY.xattr.user.large", value, sizeof(value));
    tar_file(&p->layers[0], "f", "x");
    refused(p, OCI_E_LIMIT, "layer 0: ", "entry 'f'", "extended attributes");
}

static void headers_are_bounded(void **state)
{
    struct place *p = *state;
    /* A pax header of 100 MiB: its size alone is enough. */
    tar_header(&p->layers[0], 'x', "pax", "", 100 << 20);
    refused(p, OCI_E_FORMAT, "layer 0: ", "", "too large");
    /* Many that are each small enough. */
    p->layers[0].len = 0;
    char *value = calloc(1, 900000);
    assert_non_null(value);
    memset(value, 'v', 900000);
    for (int i = 0; i < 10; i++)
        tar_pax(&p->layers[0], "comment", value, 900000);
    free(value);
    tar_file(&p->layers[0], "f", "x");
    refused(p, OCI_E_LIMIT, "layer 0: ", "", "(header_bytes)");
    /* A sparse map without end, in the file's data. */
    p->layers[0].len = 0;
    struct tar_maker map = {0};
    tar_raw(&map, "2000000000\n", 11);
    for (int i = 0; i < 1000000; i++)
        tar_raw(&map, "0\n0\n", 4);
    static const char records[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n";
    tar_header(&p->layers[0], 'x', "pax", "", sizeof(records) - 1);
    tar_raw(&p->layers[0], records, sizeof(records) - 1);
    tar_pad(&p->layers[0]);
    tar_bytes(&p->layers[0], "f", map.data, map.len);
    tar_free(&map);
    refused(p, OCI_E_LIMIT, "layer 0: ", "", "(header_bytes)");
}

static void sparse_maps_must_make_sense(void **state)
{
    struct place *p = *state;
    static const char *const maps[] = {"512,512,0,512", "0,512,256,512", "0,512,2000000,512"};
    for (int i = 0; i < 3; i++) {
        p->layers[0].len = 0;
        char records[200];
        int n = snprintf(records, sizeof(records), "25 GNU.sparse.size=10000\n%02zu GNU.sparse.map=%s\n",
                         strlen(maps[i]) + 19, maps[i]);
        tar_header(&p->layers[0], 'x', "pax", "", (uint64_t)n);
        tar_raw(&p->layers[0], records, (size_t)n);
        tar_pad(&p->layers[0]);
        char data[1024];
        memset(data, 'd', sizeof(data));
        tar_bytes(&p->layers[0], "f", data, sizeof(data));
        refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'f'", "");
    }
}

static void entries_are_counted(void **state)
{
    struct place *p = *state;
    p->limits.entries = 100;
    for (int i = 0; i < 60; i++) {
        tar_file(&p->layers[0], "f", "x");
        tar_file(&p->layers[1], "f", "x");
    }
    refused(p, OCI_E_LIMIT, "layer 1: ", "", "(entries)");
}

/* Few entries that ask for much work: links through links, and whiteouts that go through the same again. */
/* One entry can stand for a thousand folders. */
static void folders_on_the_way_are_counted(void **state)
{
    struct place *p = *state;
    char path[100] = "";
    for (int i = 0; i < 40; i++)
        strcat(path, "a/");
    p->limits.entries = 40;
    tar_file(&p->layers[0], strcat(path, "f"), "x"); /* 40 folders and a file */
    tar_end(&p->layers[0]);
    refused(p, OCI_E_LIMIT, "layer 0: ", "entry 'a/a/", "more than 40 entries");
    p->limits.entries = 41;
    assert_int_equal(merge(p), 0);
}

static void steps_are_counted(void **state)
{
    struct place *p = *state;
    p->limits.entries = 4000;
    char name[20];
    tar_symlink(&p->layers[0], "l0", "/");
    for (int i = 1; i < 200; i++) {
        char target[100];
        snprintf(name, sizeof(name), "l%d", i);
        snprintf(target, sizeof(target), "l%d/././././././././././././././././././././././././././.", i - 1);
        tar_symlink(&p->layers[0], name, target);
    }
    for (int i = 0; i < 2000; i++)
        tar_file(&p->layers[0], "l199/file", "");
    refused(p, OCI_E_LIMIT, "layer 0: ", "entry 'l199/file'", "steps");
}

static void damaged_archives_are_refused(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    tar_raw(t, "this is no archive at all, whatever its media type says", 55);
    refused(p, OCI_E_FORMAT, "layer 0: ", "", "");
    t->len = 0;
    tar_file(t, "f", "x");
    tar_header(t, '0', "g", "", 10000);
    tar_raw(t, "short", 5);
    refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'g'", "runcated");
    t->len = 0;
    tar_file(t, "f", "x");
    tar_raw(t, "garbage", 7);
    tar_pad(t);
    tar_end(t);
    refused(p, OCI_E_FORMAT, "layer 0: ", "", "Damaged");
    t->len = 0;
    tar_file(t, "f", "x");
    tar_raw(t, t->data, 300); /* half a header */
    refused(p, OCI_E_FORMAT, "layer 0: ", "", "runcated");
}

/* As some builders leave it: no zeros behind the last file's bytes. Data itself may not be missing. */
static void the_last_record_may_be_short(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    tar_file(t, "f", "x");
    tar_header(t, '0', "g", "", 700);
    for (int i = 0; i < 700; i++)
        tar_raw(t, "y", 1);
    for (p->step = 1; p->step < 5000; p->step *= 17) {
        ext2_filsys fs = merge_and_open(p);
        assert_true(image_has(fs, "/f"));
        assert_true(image_has(fs, "/g"));
        ext2fs_free(fs);
        t->len--;
        refused(p, OCI_E_FORMAT, "layer 0: ", "entry 'g'", "truncated");
        tar_raw(t, "y", 1);
    }
}

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static void it_can_be_cancelled(void **state)
{
    struct place *p = *state;
    tar_file(&p->layers[0], "f", "x");
    p->cancelled = always;
    refused(p, -ECANCELED, "layer 0: ", "", "interrupted");
}

/* --- honest --- */

static void the_same_layers_give_the_same_bytes(void **state)
{
    struct place *p = *state;
    for (int i = 0; i < 3; i++) {
        struct tar_maker *t = &p->layers[i];
        for (int k = 0; k < 500; k++) {
            char name[40], data[9000];
            snprintf(name, sizeof(name), "d%d/file%d", k % 7, k * (i + 1));
            memset(data, 'a' + k % 26, sizeof(data));
            tar_bytes(t, name, data, (size_t)(k * 17 % 9000));
        }
        tar_file(t, "d3/.wh..wh..opq", "");
        tar_end(t);
    }
    char *first = NULL, *again = NULL;
    size_t first_len, again_len;
    ext2fs_free(merge_and_open(p));
    assert_int_equal(read_file(p->path, 1 << 30, &first, &first_len, NULL), 0);
    for (size_t step = 1000; step < 100000; step *= 7) {
        p->step = step;
        assert_int_equal(merge(p), 0);
        assert_int_equal(read_file(p->path, 1 << 30, &again, &again_len, NULL), 0);
        assert_int_equal(first_len, again_len);
        assert_true(memcmp(first, again, first_len) == 0);
        free(again);
    }
    free(first);
}

static void what_is_behind_the_archive_is_passed_over(void **state)
{
    struct place *p = *state;
    tar_file(&p->layers[0], "f", "x");
    tar_end(&p->layers[0]);
    tar_file(&p->layers[0], "behind", "x");
    ext2_filsys fs = merge_and_open(p);
    assert_true(image_has(fs, "/f"));
    assert_false(image_has(fs, "/behind"));
    ext2fs_free(fs);
}

static void a_layer_may_be_empty(void **state)
{
    struct place *p = *state;
    tar_end(&p->layers[0]);
    tar_file(&p->layers[1], "f", "x");
    ext2_filsys fs = merge_and_open(p);
    assert_true(image_has(fs, "/f"));
    ext2fs_free(fs);
}

/* Whatever the process' locale is, names are bytes. */
static void names_are_bytes_in_every_locale(void **state)
{
    struct place *p = *state;
    static const char *const names[] = {"caf\xc3\xa9", "cafe\xcc\x81", "\xff\xfe", "\xc3(", "\xed\xa0\x80"};
    for (int i = 0; i < 5; i++) {
        tar_pax_text(&p->layers[0], "path", names[i]);
        tar_file(&p->layers[0], "wrong", names[i]);
        char link[8];
        snprintf(link, sizeof(link), "s%d", i);
        tar_link(&p->layers[1], link, names[i]); /* without pax */
    }
    static const char *const locales[] = {"C", "C.UTF-8"};
    for (int k = 0; k < 2; k++) {
        assert_non_null(setlocale(LC_ALL, locales[k]));
        ext2_filsys fs = merge_and_open(p);
        for (int i = 0; i < 5; i++) {
            char path[40];
            snprintf(path, sizeof(path), "/%s", names[i]);
            assert_true(image_file_is(fs, path, names[i]));
            snprintf(path, sizeof(path), "/s%d", i);
            assert_true(image_file_is(fs, path, names[i]));
        }
        ext2fs_free(fs);
    }
    setlocale(LC_ALL, "C");
}

static void files_are_sparse_as_told_or_found(void **state)
{
    struct place *p = *state;
    struct tar_maker *t = &p->layers[0];
    static char data[64 * 4096];
    memset(data + 5 * 4096 + 100, 'x', 10);
    tar_bytes(t, "found", data, sizeof(data) - 1);
    static const char records[] =
        "34 GNU.sparse.realsize=5368709120\n22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n";
    char map[512] = "3\n0\n512\n5000000000\n512\n5368709120\n0\n";
    tar_header(t, 'x', "pax", "", sizeof(records) - 1);
    tar_raw(t, records, sizeof(records) - 1);
    tar_pad(t);
    tar_header(t, '0', "told", "", 512 + 1024);
    tar_raw(t, map, 512);
    memset(data, 'y', 1024);
    tar_raw(t, data, 1024);
    ext2_filsys fs = merge_and_open(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    assert_true(image_stat(fs, "/found", &ino, &inode));
    assert_int_equal(EXT2_I_SIZE(&inode), sizeof(data) - 1);
    assert_int_equal(image_sectors(&inode), 8);
    assert_true(image_stat(fs, "/told", &ino, &inode));
    assert_int_equal(EXT2_I_SIZE(&inode), UINT64_C(5368709120));
    assert_int_equal(image_sectors(&inode), 16);
    char got[8] = {0};
    assert_int_equal(image_read(fs, "/told", UINT64_C(4999999999), got, 3), 3);
    assert_memory_equal(got, "\0yy", 3);
    ext2fs_free(fs);
}

static void access_lists_become_attributes(void **state)
{
    struct place *p = *state;
    tar_pax_text(&p->layers[0], "SCHILY.acl.access",
                 "user::rw-,user:joe:rwx:1000,group::r--,mask::rwx,other::---");
    tar_file(&p->layers[0], "acl", "x");
    tar_pax_text(&p->layers[0], "SCHILY.acl.access",
                 "user::rw-,user:nobody-knows:rwx,group::r--,mask::rwx,other::---");
    tar_file(&p->layers[0], "names", "x");
    ext2_filsys fs = merge_and_open(p);
    ext2_ino_t ino;
    struct ext2_inode_large inode;
    struct ext2_xattr_handle *h;
    void *value;
    size_t len;
    assert_true(image_stat(fs, "/acl", &ino, &inode));
    assert_int_equal(inode.i_mode & 0777, 0670);
    assert_int_equal(ext2fs_xattrs_open(fs, ino, &h), 0);
    assert_int_equal(ext2fs_xattrs_read(h), 0);
    assert_int_equal(ext2fs_xattr_get(h, "system.posix_acl_access", &value, &len), 0);
    assert_int_equal(len, 4 + 5 * 8);
    assert_memory_equal((char *)value + 12, "\2\0\7\0\xe8\3\0\0", 8);
    ext2fs_free_mem(&value);
    ext2fs_xattrs_close(&h);
    ext2fs_free(fs);
}

static void statistics_add_up(void **state)
{
    struct place *p = *state;
    struct merge *m;
    struct merge_stats s;
    struct err e = {0};
    tar_file(&p->layers[0], "f", "x");
    tar_end(&p->layers[0]);
    assert_int_equal(merge_create(&m, p->path, &(struct merge_params){0}, &e), 0);
    for (unsigned i = 0; i < 3; i++) {
        struct memory memory = {&p->layers[0], 0, SIZE_MAX};
        struct byte_source source = {.read = read_memory, .ctx = &memory};
        struct layer_info info = {.index = i, .media_type = MEDIA_OCI_LAYER};
        assert_int_equal(merge_layer(m, &info, &source, &e), 0);
    }
    merge_get_stats(m, &s);
    assert_int_equal(s.entries, 3);
    assert_int_equal(s.bytes, 3 * p->layers[0].len);
    assert_int_equal(s.bytes_in, s.bytes);
    assert_int_equal(merge_finish(m, &e), 0);
    assert_int_equal(merge_create(&m, "/nonexistent/img", &(struct merge_params){0}, &e), -ENOENT);
    merge_abort(NULL);
}

int main(void)
{
#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PLACE(a_file_that_the_host_does_not_take_is_its_failure),
        WITH_PLACE(finishing_can_be_given_up),
        WITH_PLACE(paths_stay_inside),
        WITH_PLACE(links_to_nowhere_are_refused),
        WITH_PLACE(circles_of_links_end),
        WITH_PLACE(a_path_through_a_file_is_refused),
        WITH_PLACE(nothing_goes_through_a_device),
        WITH_PLACE(whiteouts_of_a_folder_itself_are_refused),
        WITH_PLACE(the_root_stays_a_folder),
        WITH_PLACE(all_may_go_but_the_root),
        WITH_PLACE(the_last_of_equal_entries_counts),
        WITH_PLACE(names_are_printed_safely),
        WITH_PLACE(numbers_beyond_bounds_are_refused),
        WITH_PLACE(names_that_are_too_long_are_refused),
        WITH_PLACE(attributes_that_do_not_fit_are_refused),
        WITH_PLACE(headers_are_bounded),
        WITH_PLACE(sparse_maps_must_make_sense),
        WITH_PLACE(entries_are_counted),
        WITH_PLACE(folders_on_the_way_are_counted),
        WITH_PLACE(steps_are_counted),
        WITH_PLACE(damaged_archives_are_refused),
        WITH_PLACE(the_last_record_may_be_short),
        WITH_PLACE(it_can_be_cancelled),
        WITH_PLACE(the_same_layers_give_the_same_bytes),
        WITH_PLACE(what_is_behind_the_archive_is_passed_over),
        WITH_PLACE(a_layer_may_be_empty),
        WITH_PLACE(names_are_bytes_in_every_locale),
        WITH_PLACE(files_are_sparse_as_told_or_found),
        WITH_PLACE(access_lists_become_attributes),
        WITH_PLACE(statistics_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
