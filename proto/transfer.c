/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the sender is a sink of the tree's reader that encodes into a buffer, the receiver
 * decodes and calls the tree's writer. Neither keeps anything of the tree, so a transfer of any size takes
 * the same memory. There are no windows: the transport's own flow control is enough, since nothing else uses
 * the connection.
 */
#include "proto/transfer.h"

#include <errno.h>
#include <string.h>

static int flush(struct transfer_out *t)
{
    int ret = t->len ? t->flush(t, t->buf, t->len) : 0;
    t->len = 0;
    t->broken = t->broken || ret < 0;
    return ret;
}

/* Room for one more frame of any kind. */
static int make_room(struct transfer_out *t)
{
    return TRANSFER_BUFFER - t->len < FILES_FRAME_MAX ? flush(t) : 0;
}

/* `len` bytes were encoded; none means that the tree holds what no message can say. */
static int encoded(struct transfer_out *t, size_t len)
{
    t->len += len;
    return len ? 0 : -EOVERFLOW;
}

static struct transfer_out *out_of(struct ftree_sink *s)
{
    return (struct transfer_out *)(void *)s; /* the first member */
}
_Static_assert(offsetof(struct transfer_out, sink) == 0, "out_of() relies on it");

static int send_entry(struct ftree_sink *s, const struct ftree_entry *en)
{
    struct transfer_out *t = out_of(s);
    int ret = make_room(t);
    return ret < 0 ? ret : encoded(t, msg_entry_encode(en, t->buf + t->len, FILES_FRAME_MAX));
}

static int send_data(struct ftree_sink *s, uint64_t offset, const void *data, size_t len)
{
    struct transfer_out *t = out_of(s);
    const struct msg_data m = {.offset = offset, .bytes = data, .len = len};
    int ret = make_room(t);
    return ret < 0 ? ret : encoded(t, msg_data_encode(&m, t->buf + t->len, FILES_FRAME_MAX));
}

static int send_xattr(struct ftree_sink *s, const char *name, const void *value, size_t len)
{
    struct transfer_out *t = out_of(s);
    struct msg_xattr m = {.value = value, .len = len};
    int ret = make_room(t);
    if (ret < 0)
        return ret;
    memcpy(m.name, name, strnlen(name, FTREE_NAME_MAX));
    return encoded(t, msg_xattr_encode(&m, t->buf + t->len, FILES_FRAME_MAX));
}

int transfer_send(struct transfer_out *t, const struct ftree_source *src, struct err *e)
{
    t->sink = (struct ftree_sink){.entry = send_entry, .data = send_data, .xattr = send_xattr};
    int ret = ftree_read(src, &t->sink, &t->totals, e);
    if (ret == 0)
        ret = make_room(t);
    if (ret == 0)
        ret = encoded(t, msg_totals_encode(FRAME_END, &t->totals, t->buf + t->len, FILES_FRAME_MAX));
    if (ret == 0)
        ret = flush(t);
    if (ret == -EOVERFLOW)
        err_set(e, ret, "'%.300s' holds a file whose name, size or time no message can tell", src->path);
    t->len = 0;
    return ret;
}

static int on_end(struct transfer_in *t, const struct frame *f, struct err *e)
{
    if (msg_totals_decode(f, &t->sent) < 0)
        return -EPROTO;
    int ret = ftree_writer_finish(t->writer, e);
    if (ret < 0)
        return ret;
    /* What the writer left out was sent all the same. */
    const struct ftree_totals *made = ftree_writer_totals(t->writer);
    if (t->sent.bytes != made->bytes || t->sent.entries != made->entries + made->skipped)
        return err_set(e, -EPROTO, "what came is not what END says was sent");
    t->ended = true;
    return 0;
}

static int dispatch(struct transfer_in *t, const struct frame *f, struct err *e)
{
    struct msg_data data;
    struct msg_xattr xattr;
    switch (f->type) {
    case FRAME_ENTRY:
        return msg_entry_decode(f, &t->entry) < 0 ? -EPROTO : ftree_writer_entry(t->writer, &t->entry, e);
    case FRAME_DATA:
        return msg_data_decode(f, &data) < 0
                   ? -EPROTO
                   : ftree_writer_data(t->writer, data.offset, data.bytes, data.len, e);
    case FRAME_XATTR:
        return msg_xattr_decode(f, &xattr) < 0
                   ? -EPROTO
                   : ftree_writer_xattr(t->writer, xattr.name, xattr.value, xattr.len, e);
    case FRAME_END:
        return on_end(t, f, e);
    default:
        return -EPROTO;
    }
}

int transfer_frame(struct transfer_in *t, const struct frame *f, struct err *e)
{
    struct err why = {0};
    int ret = t->ended ? -EPROTO : dispatch(t, f, &why);
    if (ret < 0 && !why.text[0])
        err_set(&why, ret, "%s breaks the protocol here: a field or the order is wrong", frame_name(f->type));
    if (ret < 0 && e)
        *e = why;
    return ret;
}
