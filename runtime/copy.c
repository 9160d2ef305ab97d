/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the calls of cubby.h on files. Both directions are the same transfer
 * (proto/transfer.h): copying in reads the host's tree and sends it, copying out receives the box's and
 * writes it. Whose error ended it decides the code and the words: the box's arrive as ERROR, this host's come
 * from the tree's reader or writer.
 */
#include "runtime/copy.h"

#include "base/io.h"
#include "base/own.h"
#include "runtime/errors.h"
#include "runtime/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALL_COPY_FLAGS    (CUBBY_COPY_ARCHIVE | CUBBY_COPY_NO_REPLACE | CUBBY_COPY_FOLLOW)
#define PROGRESS_EVERY_NS (100 * NSEC_PER_MSEC)

struct copy {
    struct transfer_out out; /* copying in; the first member: see flush() */
    struct transfer_in in;   /* copying out */
    struct copy_conn conn;
    struct cubby_copy_options options;
    struct cubby_copy_result result;
    uint64_t told_ns;              /* when progress was last told */
    char name[FTREE_NAME_MAX + 1]; /* of the source */
    bool contents;
    struct msg_put put;
    struct msg_get get;
    uint8_t request[FILES_FRAME_MAX];
};

static void tell_progress(struct copy *c, const struct ftree_totals *t)
{
    uint64_t now = now_ns();
    if (!c->options.progress || now - c->told_ns < PROGRESS_EVERY_NS)
        return;
    c->told_ns = now;
    const struct cubby_copy_result so_far = {.size = sizeof(so_far),
                                             .entries = t->entries,
                                             .bytes = t->bytes,
                                             .skipped = t->skipped,
                                             .xattrs_lost = t->xattrs_lost};
    c->options.progress(c->options.context, &so_far);
}

static void set_result(struct copy *c, const struct ftree_totals *made, const struct ftree_totals *sent)
{
    c->result.entries = made->entries;
    c->result.bytes = made->bytes;
    c->result.skipped = made->skipped + sent->skipped;
    c->result.xattrs_lost = made->xattrs_lost;
}

/* ---- the call
 * --------------------------------------------------------------------------------------------*/

/* What cubby_copy_in() or cubby_copy_out() was given. */
struct call {
    struct cubby_box *box;
    const char *from, *to;
    bool into_box;
    const struct cubby_copy_options *options;
    struct cubby_copy_result *result;
    struct cubby_error *error;
};

/* The source's last component; without one ("/", "dir/.", "..") its contents are meant. */
static int name_source(struct copy *c, const struct call *call)
{
    const char *path = call->from;
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    size_t len = end - start;
    if (len > FTREE_NAME_MAX || strlen(path) > FTREE_PATH_MAX)
        return fail(call->error, CUBBY_EARGUMENT, "the source's path, or its last name, is too long");
    memcpy(c->name, path + start, len);
    c->contents = len == 0 || strcmp(c->name, ".") == 0 || strcmp(c->name, "..") == 0;
    if (c->contents)
        c->name[0] = '\0';
    return 0;
}

static int check(struct copy *c, const struct call *call)
{
    const struct cubby_copy_options *o = &c->options;
    const char *in_box = call->into_box ? call->to : call->from;
    if (!call->from[0] || !call->to[0])
        return fail(call->error, CUBBY_EARGUMENT, "a path of the copy is empty");
    if (in_box[0] != '/')
        return fail(call->error, CUBBY_EARGUMENT, "the path in the box, '%.200s', is not absolute", in_box);
    if (strlen(call->to) > FTREE_PATH_MAX)
        return fail(call->error, CUBBY_EARGUMENT, "the target's path is too long");
    if (o->flags & ~ALL_COPY_FLAGS)
        return fail(call->error, CUBBY_EARGUMENT, "unknown flags 0x%x for a copy", o->flags);
    if (o->reserved)
        return fail(call->error, CUBBY_EARGUMENT, "the reserved member of a copy's options is not 0");
    if (o->owner && (!call->into_box || o->flags & CUBBY_COPY_ARCHIVE))
        return fail(call->error, CUBBY_EARGUMENT,
                    "an owner can be chosen for copies into a box only, without CUBBY_COPY_ARCHIVE");
    if (o->owner && (!o->owner[0] || strlen(o->owner) > OWNER_MAX))
        return fail(call->error, CUBBY_EARGUMENT, "the owner is empty or too long");
    return name_source(c, call);
}

static void give_result(const struct copy *c, struct cubby_copy_result *to)
{
    struct cubby_copy_result ours = c->result;
    ours.size = to->size;
    memset(to, 0, ours.size);
    memcpy(to, &ours, ours.size < sizeof(ours) ? ours.size : sizeof(ours));
}

static int copy_in(struct copy *c, const struct call *call);
static int copy_out(struct copy *c, const struct call *call);

static int run(const struct call *call)
{
    const struct cubby_copy_result *r = call->result;
    if (!call->box || !call->from || !call->to)
        return fail(call->error, CUBBY_EARGUMENT, "cubby_copy: an argument is NULL");
    if (r && (r->size < sizeof(r->size) || r->size > 65536))
        return fail(call->error, CUBBY_EARGUMENT,
                    "cubby_copy: set result.size to sizeof(struct cubby_copy_result)");
    CLEANUP(mem_freep) struct copy *c = calloc(1, sizeof(*c));
    if (!c)
        return fail(call->error, CUBBY_ERESOURCE, "no memory for a copy");
    int ret = options_copy(&c->options, sizeof(c->options), sizeof(c->options), call->options, call->error);
    if (ret == 0)
        ret = check(c, call);
    if (ret < 0)
        return ret;
    ret = call->into_box ? copy_in(c, call) : copy_out(c, call);
    copy_close(&c->conn);
    if (ret < 0)
        fail_copy(call->error, &c->conn.failure);
    else if (r)
        give_result(c, call->result);
    return ret;
}

/* This host's own file system is at fault. */
static int fail_here(struct copy *c, int code, const struct err *e)
{
    return fail(&c->conn.failure, copy_code(-code, false), "%s", e->text);
}

/* ---- into the box
 * ----------------------------------------------------------------------------------------*/

/* For transfer_send(): a negative value ends it; the failure is in the connection. */
static int flush(struct transfer_out *t, const void *frames, size_t len)
{
    struct copy *c = (struct copy *)(void *)t;
    tell_progress(c, &t->totals);
    return copy_send(&c->conn, frames, len);
}
_Static_assert(offsetof(struct copy, out) == 0, "flush() relies on it");

static int await_done(struct copy *c)
{
    struct frame f;
    struct ftree_totals made;
    int ret = copy_receive(&c->conn, &f);
    if (ret < 0)
        return ret;
    if (f.type != FRAME_DONE || msg_totals_decode(&f, &made) < 0)
        return fail(&c->conn.failure, CUBBY_EPROTOCOL,
                    "the guest's agent broke the protocol: %s instead of DONE", frame_name(f.type));
    const struct ftree_totals *sent = &c->out.totals;
    if (made.bytes != sent->bytes || made.entries + made.skipped != sent->entries)
        return fail(&c->conn.failure, CUBBY_EPROTOCOL,
                    "the guest's agent broke the protocol: what it made is not what was sent");
    set_result(c, &made, sent);
    return 0;
}

static int copy_in(struct copy *c, const struct call *call)
{
    struct err e = {0};
    unsigned flags = c->options.flags;
    const struct ftree_source src = {
        .path = call->from, .follow = flags & CUBBY_COPY_FOLLOW, .archive = flags & CUBBY_COPY_ARCHIVE};
    struct msg_put *m = &c->put;
    m->flags = (flags & CUBBY_COPY_ARCHIVE ? PUT_ARCHIVE : 0u) |
               (flags & CUBBY_COPY_NO_REPLACE ? PUT_NO_REPLACE : 0u) | (c->contents ? PUT_CONTENTS : 0u);
    strcpy(m->name, c->name);
    strcpy(m->path, call->to);
    if (c->options.owner)
        strcpy(m->owner, c->options.owner);
    int ret = copy_open(&c->conn, call->box, &c->options, c->request,
                        msg_put_encode(m, c->request, sizeof(c->request)));
    if (ret < 0)
        return ret;
    c->out.flush = flush;
    ret = transfer_send(&c->out, &src, &e);
    if (ret < 0)
        return c->out.broken ? ret : fail_here(c, ret, &e);
    return await_done(c);
}

int cubby_copy_in(struct cubby_box *box, const char *host_path, const char *box_path,
                  const struct cubby_copy_options *options, struct cubby_copy_result *result,
                  struct cubby_error *error)
{
    const struct call call = {box, host_path, box_path, true, options, result, error};
    return run(&call);
}

/* ---- out of the box
 * --------------------------------------------------------------------------------------*/

static int receive_all(struct copy *c)
{
    struct frame f;
    struct err e = {0};
    while (!c->in.ended) {
        int ret = copy_receive(&c->conn, &f);
        if (ret < 0)
            return ret;
        ret = transfer_frame(&c->in, &f, &e);
        if (ret == -EPROTO)
            return fail(&c->conn.failure, CUBBY_EPROTOCOL, "the guest's agent broke the protocol: %s",
                        e.text);
        if (ret < 0)
            return fail_here(c, ret, &e);
        tell_progress(c, ftree_writer_totals(c->in.writer));
    }
    set_result(c, ftree_writer_totals(c->in.writer), &c->in.sent);
    return 0;
}

static int copy_out(struct copy *c, const struct call *call)
{
    struct err e = {0};
    unsigned flags = c->options.flags;
    const struct ftree_target to = {.path = call->to,
                                    .name = c->name,
                                    .contents = c->contents,
                                    .nofollow = true,
                                    .no_replace = flags & CUBBY_COPY_NO_REPLACE,
                                    .archive = flags & CUBBY_COPY_ARCHIVE};
    c->get.flags =
        (flags & CUBBY_COPY_ARCHIVE ? GET_ARCHIVE : 0u) | (flags & CUBBY_COPY_FOLLOW ? GET_FOLLOW : 0u);
    strcpy(c->get.path, call->from);
    int ret = copy_open(&c->conn, call->box, &c->options, c->request,
                        msg_get_encode(&c->get, c->request, sizeof(c->request)));
    if (ret == 0 && ftree_writer_create(&c->in.writer, &to, &e) < 0)
        ret = fail_here(c, e.code, &e);
    if (ret == 0)
        ret = receive_all(c);
    ftree_writer_destroy(c->in.writer);
    return ret;
}

int cubby_copy_out(struct cubby_box *box, const char *box_path, const char *host_path,
                   const struct cubby_copy_options *options, struct cubby_copy_result *result,
                   struct cubby_error *error)
{
    const struct call call = {box, box_path, host_path, false, options, result, error};
    return run(&call);
}
