/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file transfer from a hostile peer, host's or guest's (first byte): whatever the decoders accept must
 * encode again to the very same bytes; and the entries are written into a folder for real, outside of which
 * nothing may appear. (As the files of an ordinary user: without devices and owners.)
 */
#include "proto/files.h"
#include "proto/transfer.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char place[64], inside[80];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void same(const struct frame *f, const uint8_t *again, size_t len)
{
    check(len == FRAME_HEADER + (size_t)f->len && memcmp(again + FRAME_HEADER, f->payload, f->len) == 0);
}

static void encode_again(const struct frame *f)
{
    static uint8_t again[FILES_FRAME_MAX];
    static struct msg_put put;
    static struct msg_get get;
    static struct ftree_entry entry;
    struct msg_data data;
    struct msg_xattr xattr;
    struct ftree_totals totals;
    if (f->type == FRAME_PUT && msg_put_decode(f, &put) == 0)
        same(f, again, msg_put_encode(&put, again, sizeof(again)));
    else if (f->type == FRAME_GET && msg_get_decode(f, &get) == 0)
        same(f, again, msg_get_encode(&get, again, sizeof(again)));
    else if (f->type == FRAME_ENTRY && msg_entry_decode(f, &entry) == 0)
        same(f, again, msg_entry_encode(&entry, again, sizeof(again)));
    else if (f->type == FRAME_DATA && msg_data_decode(f, &data) == 0)
        same(f, again, msg_data_encode(&data, again, sizeof(again)));
    else if (f->type == FRAME_XATTR && msg_xattr_decode(f, &xattr) == 0)
        same(f, again, msg_xattr_encode(&xattr, again, sizeof(again)));
    else if ((f->type == FRAME_END || f->type == FRAME_DONE) && msg_totals_decode(f, &totals) == 0)
        same(f, again, msg_totals_encode(f->type, &totals, again, sizeof(again)));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_place(void)
{
    nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_place(void)
{
    if (!place[0]) {
        snprintf(place, sizeof(place), "/tmp/cubby-fuzz-XXXXXX");
        check(mkdtemp(place) != NULL);
        snprintf(inside, sizeof(inside), "%s/inside", place);
        atexit(remove_place);
    }
    check(mkdir(inside, 0700) == 0);
}

/* "inside" is the only name beside it, and holds nothing temporary; then it is cleared. */
static void check_place(void)
{
    struct stat st;
    char path[96];
    check(stat(place, &st) == 0 && st.st_nlink == 3);
    nftw(inside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    snprintf(path, sizeof(path), "%s", place);
    check(rmdir(path) == 0 && mkdir(path, 0700) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct transfer_in in;
    struct frame_reader r;
    struct frame f;
    struct err e;
    if (size == 0)
        return 0;
    make_place();
    const struct ftree_target to = {.path = inside, .name = "name", .contents = data[0] & 2};
    in = (struct transfer_in){0};
    check(ftree_writer_create(&in.writer, &to, &e) == 0);
    frame_reader_init(&r, data[0] & 1 ? FRAME_FROM_GUEST : FRAME_FROM_HOST);
    int ret = 0, written = 0;
    for (size_t at = 1; at < size && ret >= 0;) {
        uint8_t *to_fill;
        size_t room, piece = (data[0] >> 2) + 1u;
        piece = size - at < piece ? size - at : piece;
        check(frame_reader_space(&r, &to_fill, &room) == 0);
        piece = piece < room ? piece : room;
        memcpy(to_fill, data + at, piece);
        frame_reader_filled(&r, piece);
        at += piece;
        while ((ret = frame_reader_next(&r, &f)) > 0) {
            encode_again(&f);
            if (written == 0)
                written = transfer_frame(&in, &f, &e);
        }
    }
    ftree_writer_destroy(in.writer);
    frame_reader_fini(&r);
    check_place();
    return 0;
}
