/* SPDX-License-Identifier: Apache-2.0 */
/* The inflater: what comes out, what is refused and how it says so, and that it ends whenever it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "oci/inflate.h"
#include "oci/media_type.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define DATA_LEN ((size_t)700000) /* more than two pieces */

/* A source over memory that gives `step` bytes at a time, and then fails with `failure` if that is set. */
struct memory {
    const uint8_t *data;
    size_t len, at, step;
    int failure;
};

static ssize_t read_memory(void *ctx, void *buf, size_t n, struct err *e)
{
    struct memory *m = ctx;
    if (m->at == m->len && m->failure)
        return err_set(e, m->failure, "the line was cut");
    if (n > m->step)
        n = m->step;
    if (n > m->len - m->at)
        n = m->len - m->at;
    if (n)
        memcpy(buf, m->data + m->at, n);
    m->at += n;
    return (ssize_t)n;
}

struct packed {
    uint8_t *data;
    size_t len;
};

static uint8_t content[DATA_LEN];

static int make_content(void **state)
{
    (void)state;
    uint32_t x = 1;
    for (size_t i = 0; i < DATA_LEN; i++) {
        x = x * 1664525 + 1013904223;
        content[i] = (uint8_t)(x >> 28);
    }
    return 0;
}

static void pack_more(struct packed *p, const char *media, const uint8_t *data, size_t len)
{
    size_t room = len + len / 100 + 1000;
    p->data = realloc(p->data, p->len + room);
    assert_non_null(p->data);
    if (strcmp(media, MEDIA_OCI_LAYER_GZIP) == 0) {
        z_stream z = {0};
        assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        z.next_in = (Bytef *)(uintptr_t)data;
        z.avail_in = (uInt)len;
        z.next_out = p->data + p->len;
        z.avail_out = (uInt)room;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        p->len += z.total_out;
        deflateEnd(&z);
    } else if (strcmp(media, MEDIA_OCI_LAYER_ZSTD) == 0) {
        p->len += ZSTD_compress(p->data + p->len, room, data, len, 1);
    } else {
        memcpy(p->data + p->len, data, len);
        p->len += len;
    }
}

static struct packed pack(const char *media, const uint8_t *data, size_t len)
{
    struct packed p = {0};
    pack_more(&p, media, data, len);
    return p;
}

/* Reads to the end or the first error; *out_len bytes came. */
static int drain(struct inflate *in, const uint8_t *expected, size_t *out_len, struct err *e)
{
    const void *data;
    ssize_t n;
    *out_len = 0;
    while ((n = inflate_read(in, &data, e)) > 0) {
        if (expected)
            assert_memory_equal(data, expected + *out_len, (size_t)n);
        *out_len += (size_t)n;
    }
    assert_int_equal(inflate_bytes_out(in), *out_len);
    /* What was told once is told again. */
    struct err again = {0};
    assert_int_equal(inflate_read(in, &data, &again), n);
    return (int)n;
}

struct wish {
    const char *media;
    size_t step;
    int failure;
    uint64_t layer_bytes, left, ratio;
    const char *blob, *diff_id;
};

/* Inflates `p`; returns the code, with the text in *e. */
static int run(const struct packed *p, const struct wish *w, const uint8_t *expected, size_t *len,
               struct err *e)
{
    struct memory m = {p->data, p->len, 0, w->step ? w->step : 100000, w->failure};
    struct byte_source source = {.read = read_memory, .ctx = &m};
    struct layer_info info = {.index = 7, .media_type = w->media};
    struct oci_limits limits;
    struct inflate *in;
    oci_limits_init(&limits);
    if (w->layer_bytes)
        limits.layer_bytes = w->layer_bytes;
    if (w->ratio)
        limits.inflate_ratio = w->ratio;
    if (w->blob)
        assert_int_equal(digest_parse(&info.blob, w->blob, NULL), 0);
    if (w->diff_id)
        assert_int_equal(digest_parse(&info.diff_id, w->diff_id, NULL), 0);
    *len = 0;
    int ret = inflate_create(&in, &info, &limits, w->left ? w->left : UINT64_MAX, &source, e);
    if (ret < 0)
        return ret;
    ret = drain(in, expected, len, e);
    if (ret == 0)
        assert_int_equal(inflate_bytes_in(in), p->len);
    inflate_destroy(in);
    return ret;
}

static const char *const medias[] = {MEDIA_OCI_LAYER, MEDIA_OCI_LAYER_GZIP, MEDIA_OCI_LAYER_ZSTD};

static void each_kind_gives_what_went_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        static const size_t steps[] = {1, 7, 4096, 1000000};
        struct packed p = pack(medias[i], content, DATA_LEN);
        struct digest blob, diff;
        digest_of(&blob, p.data, p.len, NULL);
        digest_of(&diff, content, DATA_LEN, NULL);
        for (size_t k = 0; k < 4; k++) {
            struct wish w = {.media = medias[i], .step = steps[k], .blob = blob.text, .diff_id = diff.text};
            struct err e = {0};
            size_t len;
            assert_int_equal(run(&p, &w, content, &len, &e), 0);
            assert_int_equal(len, DATA_LEN);
        }
        free(p.data);
    }
}

static void members_and_frames_follow_each_other(void **state)
{
    (void)state;
    for (size_t i = 1; i < 3; i++) {
        struct packed p = {0};
        for (size_t at = 0; at < DATA_LEN; at += DATA_LEN / 7)
            pack_more(&p, medias[i], content + at, DATA_LEN / 7);
        pack_more(&p, medias[i], content, 0); /* an empty one */
        for (size_t step = 1; step < 100000; step = step * 10 + 1) {
            struct wish w = {.media = medias[i], .step = step};
            struct err e = {0};
            size_t len;
            assert_int_equal(run(&p, &w, content, &len, &e), 0);
            assert_int_equal(len, DATA_LEN);
        }
        free(p.data);
    }
}

static void an_empty_plain_layer_is_one(void **state)
{
    (void)state;
    struct packed p = {0};
    struct wish w = {.media = MEDIA_OCI_LAYER};
    struct err e = {0};
    size_t len;
    assert_int_equal(run(&p, &w, NULL, &len, &e), 0);
    for (size_t i = 1; i < 3; i++) {
        w.media = medias[i];
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_FORMAT);
        assert_non_null(strstr(e.text, "is empty"));
    }
}

static void what_is_cut_off_is_refused_everywhere(void **state)
{
    (void)state;
    for (size_t i = 1; i < 3; i++) {
        struct packed p = pack(medias[i], content, 3000), cut = p;
        for (cut.len = 1; cut.len < p.len; cut.len += 1 + cut.len / 50) {
            for (size_t step = 1; step < 10000; step += 5000) {
                struct wish w = {.media = medias[i], .step = step};
                struct err e = {0};
                size_t len;
                assert_int_equal(run(&cut, &w, content, &len, &e), OCI_E_FORMAT);
                assert_non_null(strstr(e.text, "is cut off"));
                assert_non_null(strstr(e.text, "layer 7"));
            }
        }
        /* The second member as well. */
        pack_more(&p, medias[i], content, 3000);
        p.len -= 3;
        struct wish w = {.media = medias[i]};
        struct err e = {0};
        size_t len;
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_FORMAT);
        free(p.data);
    }
}

static void what_follows_is_refused(void **state)
{
    (void)state;
    static const char *const tails[] = {"x", "garbage behind it", "\x1f", "\x1fx", "\0\0\0\0", "\x28\xb5"};
    static const size_t lens[] = {1, 17, 1, 2, 4, 2};
    for (size_t i = 1; i < 3; i++)
        for (size_t k = 0; k < 6; k++)
            for (size_t step = 1; step < 10000; step += 9000) {
                struct packed p = pack(medias[i], content, 3000);
                p.data = realloc(p.data, p.len + lens[k]);
                assert_non_null(p.data);
                memcpy(p.data + p.len, tails[k], lens[k]);
                p.len += lens[k];
                struct wish w = {.media = medias[i], .step = step};
                struct err e = {0};
                size_t len;
                assert_int_equal(run(&p, &w, content, &len, &e), OCI_E_FORMAT);
                free(p.data);
            }
}

static void each_media_type_wants_its_own_kind(void **state)
{
    (void)state;
    for (size_t is = 0; is < 3; is++)
        for (size_t said = 0; said < 3; said++) {
            if (is == said)
                continue;
            struct packed p = pack(medias[is], content, 3000);
            struct wish w = {.media = medias[said]};
            struct err e = {0};
            size_t len;
            assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_FORMAT);
            assert_int_equal(len, 0);
            free(p.data);
        }
}

static void damage_is_told(void **state)
{
    (void)state;
    for (size_t i = 1; i < 3; i++) {
        struct packed p = pack(medias[i], content, 30000);
        p.data[p.len / 2] ^= 0x55;
        p.data[p.len / 2 + 1] ^= 0x55;
        struct wish w = {.media = medias[i]};
        struct digest diff;
        digest_of(&diff, content, 30000, NULL);
        w.diff_id = diff.text; /* zstd frames need not have a checksum of their own */
        struct err e = {0};
        size_t len;
        int ret = run(&p, &w, NULL, &len, &e);
        assert_true(ret == OCI_E_FORMAT || ret == OCI_E_DIGEST);
        free(p.data);
    }
}

static void digests_are_checked_on_both_sides(void **state)
{
    (void)state;
    struct digest wrong;
    digest_of(&wrong, "wrong", 5, NULL);
    for (size_t i = 0; i < 3; i++) {
        struct packed p = pack(medias[i], content, 3000);
        struct wish w = {.media = medias[i], .blob = wrong.text};
        struct err e = {0};
        size_t len;
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_DIGEST);
        assert_non_null(strstr(e.text, "layer 7 (sha256:"));
        w = (struct wish){.media = medias[i], .diff_id = wrong.text};
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_DIGEST);
        assert_non_null(strstr(e.text, "inflated"));
        free(p.data);
    }
}

static void size_is_limited(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct packed p = pack(medias[i], content, DATA_LEN);
        struct err e = {0};
        size_t len;
        struct wish w = {.media = medias[i], .layer_bytes = DATA_LEN};
        assert_int_equal(run(&p, &w, NULL, &len, &e), 0);
        w.layer_bytes--;
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_LIMIT);
        assert_non_null(strstr(e.text, "(layer_bytes)"));
        w = (struct wish){.media = medias[i], .left = DATA_LEN - 1};
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_LIMIT);
        assert_non_null(strstr(e.text, "(image_bytes)"));
        free(p.data);
    }
}

/* More than a GiB of one byte, in a few KiB of zstd. */
static struct packed swelling(int byte, size_t *inflated)
{
    enum { PART = 16 << 20, PARTS = 80 };
    uint8_t *bytes = malloc(PART);
    assert_non_null(bytes);
    memset(bytes, byte, PART);
    struct packed one = pack(MEDIA_OCI_LAYER_ZSTD, bytes, PART), p = {0};
    free(bytes);
    p.data = malloc(one.len * PARTS);
    assert_non_null(p.data);
    for (; p.len < one.len * PARTS; p.len += one.len)
        memcpy(p.data + p.len, one.data, one.len);
    free(one.data);
    *inflated = (size_t)PART * PARTS;
    return p;
}

static void a_bomb_is_told_by_its_ratio(void **state)
{
    (void)state;
    struct wish w = {.media = MEDIA_OCI_LAYER_ZSTD};
    struct err e = {0};
    size_t len, whole;
    struct packed p = swelling('x', &whole);
    assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "(inflate_ratio)"));
    assert_true(len <= (size_t)(1 << 30) + INFLATE_AHEAD);
    w.ratio = 1 << 20;
    assert_int_equal(run(&p, &w, NULL, &len, &e), 0);
    free(p.data);
}

/* An honest layer with a sparse file: zeros swell by some 30000 in zstd, and become a hole. */
static void zeros_may_swell_as_they_like(void **state)
{
    (void)state;
    struct wish w = {.media = MEDIA_OCI_LAYER_ZSTD};
    struct err e = {0};
    size_t len, whole;
    struct packed p = swelling(0, &whole);
    assert_true(whole / p.len > 10000);
    assert_int_equal(run(&p, &w, NULL, &len, &e), 0);
    assert_int_equal(len, whole);
    w.layer_bytes = whole - 1; /* which counts them */
    assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_LIMIT);
    assert_non_null(strstr(e.text, "(layer_bytes)"));
    free(p.data);
}

static void the_source_is_heard(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct packed p = pack(medias[i], content, 3000);
        p.len -= 2;
        struct wish w = {.media = medias[i], .failure = -EPIPE};
        struct err e = {0};
        size_t len;
        assert_int_equal(run(&p, &w, content, &len, &e), -EPIPE);
        assert_non_null(strstr(e.text, "layer 7: the line was cut"));
        free(p.data);
    }
}

static void other_media_types_are_refused(void **state)
{
    (void)state;
    static const char *const others[] = {MEDIA_OCI_CONFIG, "application/x-tar", ""};
    struct packed p = {0};
    for (size_t i = 0; i < 3; i++) {
        struct wish w = {.media = others[i]};
        struct err e = {0};
        size_t len;
        assert_int_equal(run(&p, &w, NULL, &len, &e), OCI_E_UNSUPPORTED);
        assert_non_null(strstr(e.text, "layer 7"));
    }
}

/* A source without an end: the ring fills, and the inflater must still end at once. */
static ssize_t read_forever(void *ctx, void *buf, size_t n, struct err *e)
{
    (void)ctx;
    (void)e;
    memset(buf, 'x', n);
    return (ssize_t)n;
}

static void it_ends_in_the_middle(void **state)
{
    (void)state;
    struct byte_source source = {.read = read_forever};
    struct layer_info info = {.media_type = MEDIA_OCI_LAYER};
    struct oci_limits limits;
    oci_limits_init(&limits);
    for (int pieces = 0; pieces < 40; pieces++) {
        struct inflate *in;
        const void *data;
        struct err e = {0};
        assert_int_equal(inflate_create(&in, &info, &limits, UINT64_MAX, &source, &e), 0);
        for (int i = 0; i < pieces; i++)
            assert_true(inflate_read(in, &data, &e) > 0);
        if (pieces % 2) {
            inflate_interrupt(in);
            assert_int_equal(inflate_read(in, &data, &e), -ECANCELED);
        }
        inflate_destroy(in);
    }
    inflate_destroy(NULL);
}

/* A source that waits until it is interrupted: a download that has stalled. */
struct stalled {
    int fds[2];
};

static ssize_t read_stalled(void *ctx, void *buf, size_t n, struct err *e)
{
    struct stalled *s = ctx;
    ssize_t got = read(s->fds[0], buf, n);
    return got > 0 ? got : err_set(e, -ECANCELED, "gave up");
}

static void interrupt_stalled(void *ctx)
{
    struct stalled *s = ctx;
    close(s->fds[1]);
}

static void *interrupt_soon(void *arg)
{
    usleep(20000);
    inflate_interrupt(arg);
    return NULL;
}

static void a_stalled_source_is_interrupted(void **state)
{
    (void)state;
    struct layer_info info = {.media_type = MEDIA_OCI_LAYER_GZIP};
    struct oci_limits limits;
    oci_limits_init(&limits);
    for (int waits = 0; waits < 2; waits++) {
        struct stalled s;
        struct byte_source source = {.read = read_stalled, .interrupt = interrupt_stalled, .ctx = &s};
        struct inflate *in;
        struct err e = {0};
        const void *data;
        pthread_t other;
        assert_int_equal(pipe(s.fds), 0);
        assert_int_equal(write(s.fds[1], "\x1f\x8b", 2), 2);
        assert_int_equal(inflate_create(&in, &info, &limits, UINT64_MAX, &source, &e), 0);
        if (waits) {
            assert_int_equal(pthread_create(&other, NULL, interrupt_soon, in), 0);
            assert_int_equal(inflate_read(in, &data, &e), -ECANCELED);
            pthread_join(other, NULL);
        }
        inflate_destroy(in);
        close(s.fds[0]);
    }
}

static void a_descriptor_is_a_source(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "plain bytes", 11), 11);
    close(fds[1]);
    struct byte_source source = byte_source_fd(&fds[0]);
    struct layer_info info = {.media_type = MEDIA_OCI_LAYER};
    struct oci_limits limits;
    struct inflate *in;
    struct err e = {0};
    size_t len;
    oci_limits_init(&limits);
    assert_int_equal(inflate_create(&in, &info, &limits, UINT64_MAX, &source, &e), 0);
    assert_int_equal(drain(in, (const uint8_t *)"plain bytes", &len, &e), 0);
    inflate_destroy(in);
    close(fds[0]);
    assert_int_equal(inflate_create(&in, &info, &limits, UINT64_MAX, &source, &e), 0);
    assert_int_equal(drain(in, NULL, &len, &e), -EBADF);
    inflate_destroy(in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_gives_what_went_in),
        cmocka_unit_test(members_and_frames_follow_each_other),
        cmocka_unit_test(an_empty_plain_layer_is_one),
        cmocka_unit_test(what_is_cut_off_is_refused_everywhere),
        cmocka_unit_test(what_follows_is_refused),
        cmocka_unit_test(each_media_type_wants_its_own_kind),
        cmocka_unit_test(damage_is_told),
        cmocka_unit_test(digests_are_checked_on_both_sides),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(a_bomb_is_told_by_its_ratio),
        cmocka_unit_test(zeros_may_swell_as_they_like),
        cmocka_unit_test(the_source_is_heard),
        cmocka_unit_test(other_media_types_are_refused),
        cmocka_unit_test(it_ends_in_the_middle),
        cmocka_unit_test(a_stalled_source_is_interrupted),
        cmocka_unit_test(a_descriptor_is_a_source),
    };
    return cmocka_run_group_tests(tests, make_content, NULL);
}
