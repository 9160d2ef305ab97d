/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte stream from a hostile peer, host's or guest's (first byte), fed in pieces: whatever the reader and
 * the decoders accept must encode again to the very same bytes.
 */
#include "proto/detached.h"
#include "proto/exec.h"
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

/* Re-encoded, a decoded message is the frame that it came from. */
static void same(const struct frame *f, const uint8_t *again, size_t len)
{
    check(len == FRAME_HEADER + (size_t)f->len && memcmp(again + FRAME_HEADER, f->payload, f->len) == 0);
}

/* Texts are cleaned while decoding: compare the part in front of them, and the length. */
static void same_but_text(const struct frame *f, const uint8_t *again, size_t len, size_t fixed)
{
    check(len <= FRAME_HEADER + (size_t)f->len && memcmp(again + FRAME_HEADER, f->payload, fixed) == 0);
}

static void exec_again(const struct frame *f)
{
    struct exec_request q, r;
    struct err e;
    if (exec_request_decode(&q, f->payload, f->len, &e) < 0)
        return;
    size_t size = exec_request_size(&q);
    uint8_t *again = malloc(size);
    int ret = again ? exec_request_encode(&q, again, size, &e) : -1;
    /* Defaults that were left out are written out: only that may make it too long. */
    check(ret == 0 || size - FRAME_HEADER > EXEC_PAYLOAD_MAX);
    if (ret == 0) {
        check(exec_request_decode(&r, again + FRAME_HEADER, size - FRAME_HEADER, &e) == 0);
        check(r.flags == q.flags && r.timeout_ms == q.timeout_ms && r.rlimit_count == q.rlimit_count);
        check(strcmp(r.argv[0], q.argv[0]) == 0);
        exec_request_fini(&r);
    }
    free(again);
    exec_request_fini(&q);
}

static void from_host(const struct frame *f)
{
    uint8_t again[MSG_FRAME_MAX];
    struct msg_hello hello;
    struct msg_signal sig;
    struct msg_resize resize;
    struct msg_window window;
    struct msg_shutdown down;
    struct msg_attach attach;
    struct msg_remove rm;
    enum stream stream;
    uint64_t cookie;
    if (f->type == FRAME_HELLO && msg_hello_decode(f, &hello) == 0)
        same(f, again, msg_hello_encode(&hello, again, sizeof(again)));
    else if (f->type == FRAME_SIGNAL && msg_signal_decode(f, &sig) == 0)
        same(f, again, msg_signal_encode(&sig, again, sizeof(again)));
    else if (f->type == FRAME_RESIZE && msg_resize_decode(f, &resize) == 0)
        same(f, again, msg_resize_encode(&resize, again, sizeof(again)));
    else if (f->type == FRAME_WINDOW && msg_window_decode(f, &window) == 0)
        same(f, again, msg_window_encode(&window, again, sizeof(again)));
    else if (f->type == FRAME_STREAM_EOF && msg_stream_eof_decode(f, &stream) == 0)
        same(f, again, msg_stream_eof_encode(stream, again, sizeof(again)));
    else if (f->type == FRAME_SHUTDOWN && msg_shutdown_decode(f, &down) == 0)
        same(f, again, msg_shutdown_encode(&down, again, sizeof(again)));
    else if (f->type == FRAME_PING && msg_ping_decode(f, &cookie) == 0)
        same(f, again, msg_ping_encode(FRAME_PING, cookie, again, sizeof(again)));
    else if (f->type == FRAME_ATTACH && msg_attach_decode(f, &attach) == 0)
        same(f, again, msg_attach_encode(&attach, again, sizeof(again)));
    else if (f->type == FRAME_REMOVE && msg_remove_decode(f, &rm) == 0)
        same(f, again, msg_remove_encode(&rm, again, sizeof(again)));
    else if (f->type == FRAME_EXEC)
        exec_again(f);
}

static void about_detached(const struct frame *f)
{
    uint8_t again[MSG_FRAME_MAX];
    struct msg_attached attached;
    struct msg_skipped skipped;
    struct msg_item item;
    uint32_t count;
    if (f->type == FRAME_ATTACHED && msg_attached_decode(f, &attached) == 0)
        same(f, again, msg_attached_encode(&attached, again, sizeof(again)));
    else if (f->type == FRAME_SKIPPED && msg_skipped_decode(f, &skipped) == 0)
        same(f, again, msg_skipped_encode(&skipped, again, sizeof(again)));
    else if (f->type == FRAME_ITEM && msg_item_decode(f, &item) == 0)
        same_but_text(f, again, msg_item_encode(&item, again, sizeof(again)), 76);
    else if (f->type == FRAME_LIST_END && msg_list_end_decode(f, &count) == 0)
        same(f, again, msg_list_end_encode(count, again, sizeof(again)));
}

static void from_guest(const struct frame *f)
{
    uint8_t again[MSG_FRAME_MAX];
    struct msg_error error;
    struct msg_started started;
    struct msg_exited exited;
    struct msg_ready ready;
    struct msg_bye bye;
    struct msg_event event;
    if (f->type == FRAME_ERROR && msg_error_decode(f, &error) == 0)
        same_but_text(f, again, msg_error_encode(&error, again, sizeof(again)), 8);
    else if (f->type == FRAME_STARTED && msg_started_decode(f, &started) == 0)
        same(f, again, msg_started_encode(&started, again, sizeof(again)));
    else if (f->type == FRAME_EXITED && msg_exited_decode(f, &exited) == 0)
        same(f, again, msg_exited_encode(&exited, again, sizeof(again)));
    else if (f->type == FRAME_READY && msg_ready_decode(f, &ready) == 0)
        same_but_text(f, again, msg_ready_encode(&ready, again, sizeof(again)), 40);
    else if (f->type == FRAME_BYE && msg_bye_decode(f, &bye) == 0)
        same_but_text(f, again, msg_bye_encode(&bye, again, sizeof(again)), 4);
    else if (f->type == FRAME_EVENT && msg_event_decode(f, &event) == 0)
        same_but_text(f, again, msg_event_encode(&event, again, sizeof(again)), 12);
    else
        about_detached(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum frame_from from = data[0] & 1 ? FRAME_FROM_GUEST : FRAME_FROM_HOST;
    size_t piece = data[1] ? data[1] : size;
    struct frame_reader r;
    struct frame f;
    int ret = 0;
    frame_reader_init(&r, from);
    for (size_t at = 2; at < size && ret == 0;) {
        uint8_t *to;
        size_t room;
        if (frame_reader_space(&r, &to, &room) < 0)
            break;
        size_t n = size - at < piece ? size - at : piece;
        n = n < room ? n : room;
        memcpy(to, data + at, n);
        frame_reader_filled(&r, n);
        at += n;
        while ((ret = frame_reader_next(&r, &f)) > 0) {
            from == FRAME_FROM_GUEST ? from_guest(&f) : from_host(&f);
        }
    }
    frame_reader_fini(&r);
    return 0;
}
