/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a file transfer: what goes in comes out, every field at, below and above its bounds, cut at
 * every byte; and a tree sent through both ends of a transfer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "proto/files.h"
#include "proto/transfer.h"
#include "tests/base/trees.h"

static uint8_t buf[FILES_FRAME_MAX];

/* The frame that was encoded into `buf`, as a receiver sees it. */
static struct frame framed(size_t len)
{
    struct frame f;
    assert_true(len >= FRAME_HEADER);
    assert_int_equal(frame_header_check(buf, buf[4] == FRAME_DONE ? FRAME_FROM_GUEST : FRAME_FROM_HOST, &f),
                     0);
    assert_int_equal(f.len, len - FRAME_HEADER);
    f.payload = buf + FRAME_HEADER;
    return f;
}

static struct msg_put some_put(void)
{
    return (struct msg_put){.flags = PUT_NO_REPLACE, .owner = "me:us", .name = "name", .path = "/a/b"};
}

static void put_comes_out_as_it_went_in(void **state)
{
    (void)state;
    struct msg_put m = some_put(), got;
    memset(m.owner, 'o', OWNER_MAX);
    memset(m.name, '\xff', FTREE_NAME_MAX);
    memset(m.path, 'p', FTREE_PATH_MAX);
    m.path[0] = '/';
    struct frame f = framed(msg_put_encode(&m, buf, sizeof(buf)));
    assert_int_equal(f.len, PUT_FIXED + OWNER_MAX + FTREE_NAME_MAX + FTREE_PATH_MAX);
    assert_int_equal(msg_put_decode(&f, &got), 0);
    assert_int_equal(got.flags, PUT_NO_REPLACE);
    assert_string_equal(got.owner, m.owner);
    assert_string_equal(got.name, m.name);
    assert_string_equal(got.path, m.path);
}

static void put_is_refused_out_of_range(void **state)
{
    (void)state;
    struct msg_put m = some_put(), got;
    m.flags = PUT_FLAGS_ALL + 1;
    assert_int_equal(msg_put_encode(&m, buf, sizeof(buf)), 0);
    static const char *const names[] = {"", ".", "..", "a/b", "/", "a/"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        m = some_put();
        strcpy(m.name, names[i]);
        assert_int_equal(msg_put_encode(&m, buf, sizeof(buf)), 0);
    }
    m = some_put();
    m.flags |= PUT_CONTENTS;
    m.name[0] = '\0';
    assert_true(msg_put_encode(&m, buf, sizeof(buf)) > 0);
    m.flags |= PUT_ARCHIVE; /* with an owner of its own */
    assert_int_equal(msg_put_encode(&m, buf, sizeof(buf)), 0);
    m = some_put();
    strcpy(m.path, "relative");
    assert_int_equal(msg_put_encode(&m, buf, sizeof(buf)), 0);
    m.path[0] = '\0';
    assert_int_equal(msg_put_encode(&m, buf, sizeof(buf)), 0);
    /* The decoder by itself: a reserved byte, a NUL in each string, a length beyond the end. */
    m = some_put();
    static const size_t at[] = {6, 7, 8, 14, 20};
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        struct frame f = framed(msg_put_encode(&m, buf, sizeof(buf)));
        buf[FRAME_HEADER + at[i]] = at[i] < 8;
        assert_int_equal(msg_put_decode(&f, &got), -EPROTO);
    }
    struct frame f = framed(msg_put_encode(&m, buf, sizeof(buf)));
    buf[FRAME_HEADER + 5] = 200;
    assert_int_equal(msg_put_decode(&f, &got), -EPROTO);
}

static void get_has_its_bounds(void **state)
{
    (void)state;
    struct msg_get m = {.flags = GET_FLAGS_ALL, .path = "/"}, got;
    struct frame f = framed(msg_get_encode(&m, buf, sizeof(buf)));
    assert_int_equal(msg_get_decode(&f, &got), 0);
    assert_int_equal(got.flags, GET_FLAGS_ALL);
    assert_string_equal(got.path, "/");
    buf[FRAME_HEADER + 4] = 'x'; /* not absolute */
    assert_int_equal(msg_get_decode(&f, &got), -EPROTO);
    m.flags++;
    assert_int_equal(msg_get_encode(&m, buf, sizeof(buf)), 0);
    m.flags = 0;
    m.path[0] = '\0';
    assert_int_equal(msg_get_encode(&m, buf, sizeof(buf)), 0);
}

static struct ftree_entry some_entry(enum ftree_type type)
{
    struct ftree_entry en = {.type = (uint8_t)type,
                             .mode = 07777,
                             .uid = UINT32_MAX,
                             .gid = 0x01020304,
                             .mtime_s = INT64_MIN,
                             .mtime_ns = 999999999,
                             .path = "a/\n b/\xff"};
    if (type == FTREE_FILE) {
        en.size = INT64_MAX;
        en.linked = true;
    }
    if (type == FTREE_SYMLINK || type == FTREE_LINK)
        strcpy(en.target, "some-target");
    if (type == FTREE_CHAR || type == FTREE_BLOCK) {
        en.dev_major = UINT32_MAX;
        en.dev_minor = 7;
    }
    return en;
}

static void each_kind_of_entry_comes_out_as_it_went_in(void **state)
{
    (void)state;
    static struct ftree_entry got;
    for (enum ftree_type type = FTREE_FILE; type < FTREE_TYPES; type++) {
        struct ftree_entry en = some_entry(type);
        struct frame f = framed(msg_entry_encode(&en, buf, sizeof(buf)));
        assert_int_equal(msg_entry_decode(&f, &got), 0);
        assert_true(got.type == en.type && got.linked == en.linked && got.mode == en.mode);
        assert_true(got.uid == en.uid && got.gid == en.gid && got.size == en.size);
        assert_true(got.mtime_s == en.mtime_s && got.mtime_ns == en.mtime_ns);
        assert_true(got.dev_major == en.dev_major && got.dev_minor == en.dev_minor);
        assert_string_equal(got.path, en.path);
        assert_string_equal(got.target, en.target);
        for (uint32_t cut = 0; cut < f.len; cut++) { /* only strings may be shorter */
            struct frame part = {.type = f.type, .len = cut, .payload = f.payload};
            int ret = msg_entry_decode(&part, &got);
            assert_int_equal(ret, cut > ENTRY_FIXED + strlen(en.path) && en.target[0] ? 0 : -EPROTO);
        }
    }
}

static void entries_out_of_range_are_refused(void **state)
{
    (void)state;
    static struct ftree_entry en;
#define REFUSED(type, change)                                                                                \
    do {                                                                                                     \
        en = some_entry(type);                                                                               \
        change;                                                                                              \
        assert_int_equal(msg_entry_encode(&en, buf, sizeof(buf)), 0);                                        \
    } while (0)
    REFUSED(FTREE_FILE, en.type = 0);
    REFUSED(FTREE_FILE, en.type = FTREE_TYPES);
    REFUSED(FTREE_FILE, en.mode = 010000);
    REFUSED(FTREE_FILE, en.mtime_ns = 1000000000);
    REFUSED(FTREE_FILE, en.size = (uint64_t)INT64_MAX + 1);
    REFUSED(FTREE_FILE, en.dev_minor = 1);
    REFUSED(FTREE_FILE, strcpy(en.target, "x"));
    REFUSED(FTREE_FILE, strcpy(en.path, "../x"));
    REFUSED(FTREE_FILE, strcpy(en.path, "/x"));
    REFUSED(FTREE_DIR, en.size = 1);
    REFUSED(FTREE_DIR, en.linked = true);
    REFUSED(FTREE_LEAVE, en.dev_major = 1);
    REFUSED(FTREE_SYMLINK, en.target[0] = '\0');
    REFUSED(FTREE_LINK, en.target[0] = '\0');
    REFUSED(FTREE_LINK, strcpy(en.target, "../x"));
    REFUSED(FTREE_FIFO, strcpy(en.target, "x"));
#undef REFUSED
    en = some_entry(FTREE_FILE);
    struct frame f = framed(msg_entry_encode(&en, buf, sizeof(buf)));
    buf[FRAME_HEADER + 1] = 2; /* neither linked nor not */
    assert_int_equal(msg_entry_decode(&f, &en), -EPROTO);
    en = some_entry(FTREE_SYMLINK);
    f = framed(msg_entry_encode(&en, buf, sizeof(buf)));
    buf[FRAME_HEADER + f.len - 1] = '\0';
    assert_int_equal(msg_entry_decode(&f, &en), -EPROTO);
}

static void data_and_xattrs_have_their_bounds(void **state)
{
    (void)state;
    static uint8_t bytes[FTREE_CHUNK + 1];
    struct msg_data d = {.offset = UINT64_MAX, .bytes = bytes, .len = FTREE_CHUNK}, data;
    memset(bytes, 'b', sizeof(bytes));
    struct frame f = framed(msg_data_encode(&d, buf, sizeof(buf)));
    assert_int_equal(msg_data_decode(&f, &data), 0);
    assert_true(data.offset == UINT64_MAX && data.len == FTREE_CHUNK);
    assert_memory_equal(data.bytes, bytes, FTREE_CHUNK);
    d.len++;
    assert_int_equal(msg_data_encode(&d, buf, sizeof(buf)), 0);
    d.len = 0;
    assert_int_equal(msg_data_encode(&d, buf, sizeof(buf)), 0);
    f.len = 8;
    assert_int_equal(msg_data_decode(&f, &data), -EPROTO);

    struct msg_xattr x = {.value = bytes, .len = FTREE_XATTR_MAX}, xattr;
    memset(x.name, 'x', FTREE_NAME_MAX);
    f = framed(msg_xattr_encode(&x, buf, sizeof(buf)));
    assert_int_equal(FRAME_HEADER + f.len, FILES_FRAME_MAX);
    assert_int_equal(msg_xattr_decode(&f, &xattr), 0);
    assert_string_equal(xattr.name, x.name);
    assert_int_equal(xattr.len, FTREE_XATTR_MAX);
    buf[FRAME_HEADER]--; /* a shorter name makes the value too long */
    assert_int_equal(msg_xattr_decode(&f, &xattr), -EPROTO);
    x.len++;
    assert_int_equal(msg_xattr_encode(&x, buf, sizeof(buf)), 0);
    x = (struct msg_xattr){.name = "user.empty"};
    f = framed(msg_xattr_encode(&x, buf, sizeof(buf)));
    assert_int_equal(msg_xattr_decode(&f, &xattr), 0);
    assert_int_equal(xattr.len, 0);
    x.name[0] = '\0';
    assert_int_equal(msg_xattr_encode(&x, buf, sizeof(buf)), 0);
}

static void totals_come_out_as_they_went_in(void **state)
{
    (void)state;
    const struct ftree_totals m = {1, UINT64_MAX, 3, 4};
    static const enum frame_type types[] = {FRAME_END, FRAME_DONE};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct ftree_totals got;
        struct frame f = framed(msg_totals_encode(types[i], &m, buf, sizeof(buf)));
        assert_int_equal(msg_totals_decode(&f, &got), 0);
        assert_memory_equal(&got, &m, sizeof(m));
        f.len--;
        assert_int_equal(msg_totals_decode(&f, &got), -EPROTO);
    }
}

static void no_frame_is_written_beyond_the_buffer(void **state)
{
    (void)state;
    const struct msg_put put = some_put();
    const struct ftree_entry en = some_entry(FTREE_FILE);
    size_t whole = msg_put_encode(&put, buf, sizeof(buf));
    for (size_t cap = 0; cap < whole; cap++)
        assert_int_equal(msg_put_encode(&put, buf, cap), 0);
    whole = msg_entry_encode(&en, buf, sizeof(buf));
    for (size_t cap = 0; cap < whole; cap++)
        assert_int_equal(msg_entry_encode(&en, buf, cap), 0);
}

/* --- both ends of a transfer --- */

struct loop {
    struct transfer_out out; /* the first member */
    struct transfer_in in;
    struct frame_reader reader;
    struct err e;
    int ret;      /* of the receiving end */
    size_t piece; /* bytes are handed over in pieces of this size */
    long flushes, fail_at;
};

static int hand_over(struct transfer_out *t, const void *frames, size_t len)
{
    struct loop *l = (struct loop *)(void *)t;
    struct frame f;
    if (++l->flushes == l->fail_at)
        return -EPIPE;
    for (size_t done = 0; done < len;) {
        uint8_t *at;
        size_t room, n = len - done < l->piece ? len - done : l->piece;
        assert_int_equal(frame_reader_space(&l->reader, &at, &room), 0);
        n = n < room ? n : room;
        memcpy(at, (const uint8_t *)frames + done, n);
        frame_reader_filled(&l->reader, n);
        done += n;
        while (frame_reader_next(&l->reader, &f) > 0 && l->ret == 0)
            l->ret = transfer_frame(&l->in, &f, &l->e);
    }
    return l->ret;
}

static int transfer(struct loop *l, const char *from, const char *to, bool archive)
{
    const struct ftree_source src = {.path = from, .archive = archive};
    const struct ftree_target dest = {.path = to, .name = "n", .archive = archive};
    l->out.flush = hand_over;
    frame_reader_init(&l->reader, FRAME_FROM_GUEST);
    assert_int_equal(ftree_writer_create(&l->in.writer, &dest, &l->e), 0);
    int ret = transfer_send(&l->out, &src, &l->e);
    ftree_writer_destroy(l->in.writer);
    frame_reader_fini(&l->reader);
    return ret;
}

static char place[64];

static int set_up(void **state)
{
    (void)state;
    alarm(60);
    strcpy(place, "/tmp/cubby-files-XXXXXX");
    return mkdtemp(place) && mkdir(pathf("%s/from", place), 0755) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    tree_remove(place);
    return access(place, F_OK) == 0;
}

static void a_tree_goes_through_whole(void **state)
{
    (void)state;
    static const size_t pieces[] = {1u << 20, 4096, 17};
    bool root = geteuid() == 0;
    tree_fill(pathf("%s/from", place));
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        CLEANUP(mem_freep) struct loop *l = calloc(1, sizeof(*l));
        l->piece = pieces[i];
        if (transfer(l, pathf("%s/from", place), pathf("%s/to", place), root) < 0)
            fail_msg("%s", l->e.text);
        assert_true(l->in.ended);
        assert_int_equal(l->in.sent.entries, l->out.totals.entries);
        assert_same_trees(pathf("%s/from", place), pathf("%s/to", place), root);
        tree_remove(pathf("%s/to", place));
    }
}

static void a_transport_that_breaks_is_told_from_a_source_that_does(void **state)
{
    (void)state;
    CLEANUP(mem_freep) struct loop *l = calloc(1, sizeof(*l));
    l->piece = 1u << 20;
    tree_fill(pathf("%s/from", place));
    l->fail_at = 2;
    assert_int_equal(transfer(l, pathf("%s/from", place), pathf("%s/to", place), false), -EPIPE);
    assert_true(l->out.broken);
    *l = (struct loop){.piece = 1};
    assert_int_equal(transfer(l, pathf("%s/none", place), pathf("%s/to", place), false), -ENOENT);
    assert_false(l->out.broken);
    assert_int_equal(l->flushes, 0);
}

static void what_does_not_belong_into_a_transfer_is_refused(void **state)
{
    (void)state;
    struct err e;
    CLEANUP(mem_freep) struct transfer_in *in = calloc(1, sizeof(*in));
    const struct ftree_target dest = {.path = pathf("%s/to", place), .name = "n"};
    assert_int_equal(ftree_writer_create(&in->writer, &dest, &e), 0);
    struct frame f = {.type = FRAME_GET, .len = 5, .payload = (const uint8_t *)"\0\0\0\0/"};
    assert_int_equal(transfer_frame(in, &f, &e), -EPROTO);
    assert_non_null(strstr(e.text, "GET breaks the protocol"));
    f = framed(msg_totals_encode(FRAME_END, &(struct ftree_totals){0}, buf, sizeof(buf)));
    assert_int_equal(transfer_frame(in, &f, &e), -EPROTO); /* nothing was sent */
    ftree_writer_destroy(in->writer);

    *in = (struct transfer_in){0};
    assert_int_equal(ftree_writer_create(&in->writer, &dest, &e), 0);
    static const enum ftree_type steps[] = {FTREE_DIR, FTREE_LEAVE};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const struct ftree_entry root = {
            .type = (uint8_t)steps[i], .mode = 0755, .uid = geteuid(), .gid = getegid()};
        f = framed(msg_entry_encode(&root, buf, sizeof(buf)));
        assert_int_equal(transfer_frame(in, &f, &e), 0);
    }
    static const struct ftree_totals wrong[] = {{.entries = 2}, {.entries = 1, .bytes = 1}, {0}};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        f = framed(msg_totals_encode(FRAME_END, &wrong[i], buf, sizeof(buf)));
        assert_int_equal(transfer_frame(in, &f, &e), -EPROTO);
        assert_string_equal(e.text, "what came is not what END says was sent");
    }
    f = framed(msg_totals_encode(FRAME_END, &(struct ftree_totals){.entries = 1}, buf, sizeof(buf)));
    assert_int_equal(transfer_frame(in, &f, &e), 0);
    assert_int_equal(transfer_frame(in, &f, &e), -EPROTO); /* twice */
    ftree_writer_destroy(in->writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_comes_out_as_it_went_in),
        cmocka_unit_test(put_is_refused_out_of_range),
        cmocka_unit_test(get_has_its_bounds),
        cmocka_unit_test(each_kind_of_entry_comes_out_as_it_went_in),
        cmocka_unit_test(entries_out_of_range_are_refused),
        cmocka_unit_test(data_and_xattrs_have_their_bounds),
        cmocka_unit_test(totals_come_out_as_they_went_in),
        cmocka_unit_test(no_frame_is_written_beyond_the_buffer),
        cmocka_unit_test_setup_teardown(a_tree_goes_through_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_transport_that_breaks_is_told_from_a_source_that_does, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_does_not_belong_into_a_transfer_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
