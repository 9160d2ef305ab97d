/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: after the request, bytes flow in one direction until the other side's verdict. So
 * while we send, anything that arrives (but HELLO) is the guest's word that it cannot go on, and is looked at
 * before each write: a copy of gigabytes into a full disk ends early. A guest that takes or sends nothing for
 * a while is given up; there is no other deadline, for a copy may be of any size.
 */
#include "runtime/copy.h"

#include "base/io.h"
#include "base/own.h"
#include "proto/msg.h"
#include "proto/ports.h"
#include "runtime/box.h"
#include "runtime/dial.h"
#include "runtime/errors.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BOOT_SLICE_MS 100  /* between two looks at cancel_fd while the box boots */
#define LOST_MS       1000 /* for the box to say why a connection broke */
#define GREETING_MAX  64   /* CONNECT and HELLO */

int copy_code(int errnum, bool in_box)
{
    switch (errnum) {
    case ENOENT:
        return CUBBY_ENOTFOUND;
    case EEXIST:
        return CUBBY_EEXISTS;
    case ENOTDIR:
    case EISDIR:
        return CUBBY_ENOTDIR;
    case ENOSPC:
    case EDQUOT:
    case EIO:
    case EROFS:
        return in_box ? CUBBY_EGUEST_STORAGE : CUBBY_ESTORAGE;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return CUBBY_ERESOURCE;
    case EOPNOTSUPP:
        return CUBBY_EUNSUPPORTED;
    default:
        return CUBBY_EFILE;
    }
}

/* ---- waiting
 * ---------------------------------------------------------------------------------------------*/

static bool is_cancelled(const struct copy_conn *c)
{
    struct pollfd p = {.fd = c->cancel_fd, .events = POLLIN};
    return c->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

static int cancelled(struct copy_conn *c)
{
    return fail(&c->failure, CUBBY_ESTOPPED, "the copy was interrupted");
}

static void note_progress(struct copy_conn *c)
{
    c->deadline_ns = now_ns() + c->stall_ms * NSEC_PER_MSEC;
}

/* Until the socket is ready for `events`. 0 or the failure. */
static int await(struct copy_conn *c, short events)
{
    struct pollfd p[] = {{.fd = c->fd, .events = events},
                         {.fd = c->cancel_fd, .events = POLLIN},
                         {.fd = c->box->waiter.epoll_fd, .events = POLLIN}};
    for (;;) {
        uint64_t now = now_ns();
        if (now >= c->deadline_ns)
            return fail(&c->failure, CUBBY_EGUEST_LOST,
                        "the guest's agent neither took nor sent a byte of the copy for %u ms", c->stall_ms);
        uint64_t left_ms = (c->deadline_ns - now) / NSEC_PER_MSEC + 1;
        if (poll(p, ARRAY_LEN(p), left_ms > INT_MAX ? INT_MAX : (int)left_ms) < 0 && errno != EINTR)
            return fail(&c->failure, CUBBY_ERESOURCE, "cannot wait for the guest: %s", strerror(errno));
        if (p[1].revents)
            return cancelled(c);
        if (p[0].revents) /* before the box: what it has sent counts */
            return 0;
        if (p[2].revents && box_is_over(c->box, c->life, &c->failure))
            return c->failure.code;
    }
}

/* The connection broke. The box may know better than we why, now (it is being stopped) or soon. */
static int lost(struct copy_conn *c, const char *why)
{
    uint64_t until = waiter_deadline(LOST_MS);
    for (uint64_t now; (now = now_ns()) < until;) {
        int ret = box_check(c->box, c->life, &c->failure);
        if (ret != 0 && ret != CUBBY_EAGAIN)
            return ret;
        struct pollfd p = {.fd = c->box->waiter.epoll_fd, .events = POLLIN};
        poll(&p, 1, (int)((until - now) / NSEC_PER_MSEC) + 1);
    }
    return fail(&c->failure, CUBBY_EGUEST_LOST, "%s", why);
}

static int await_box(struct copy_conn *c)
{
    for (;;) {
        int ret = cubby_box_wait_ready(c->box, BOOT_SLICE_MS, &c->failure);
        c->life = box_life(c->box);
        if (ret != CUBBY_ETIMEOUT)
            return ret;
        if (is_cancelled(c))
            return cancelled(c);
    }
}

/* ---- receiving
 * -------------------------------------------------------------------------------------------*/

static int protocol_broken(struct copy_conn *c, const char *how)
{
    return fail(&c->failure, CUBBY_EPROTOCOL, "the guest's agent broke the protocol: %s", how);
}

static int on_error(struct copy_conn *c, const struct frame *f)
{
    struct msg_error m;
    int code = CUBBY_ERESOURCE;
    if (msg_error_decode(f, &m) < 0)
        return protocol_broken(c, "its ERROR is malformed");
    if (m.stage == STAGE_USER && m.errnum == EINVAL)
        code = CUBBY_EARGUMENT; /* of the owner's form, the agent is the judge */
    else if (m.stage == STAGE_FILE || m.stage == STAGE_USER)
        code = copy_code((int)m.errnum, true);
    else if (m.stage == STAGE_PROTOCOL || m.stage == STAGE_VERSION)
        code = CUBBY_EPROTOCOL;
    else if (m.stage == STAGE_UNSUPPORTED)
        code = CUBBY_EUNSUPPORTED;
    else if (m.stage == STAGE_STATE)
        code = CUBBY_ESTOPPED;
    return fail(&c->failure, code, "in the box: %s", m.text[0] ? m.text : error_stage_name(m.stage));
}

static int on_hello(struct copy_conn *c, const struct frame *f)
{
    struct msg_hello m;
    if (msg_hello_decode(f, &m) < 0 || m.version_min != m.version_max || m.version_min < PROTO_VERSION_MIN ||
        m.version_max > PROTO_VERSION_MAX)
        return protocol_broken(c, "it chose a version that was not offered");
    c->greeted = true;
    return 0;
}

/* What has arrived, without waiting. 1 with a frame, 0 when there is none yet, or the failure. */
static int next_frame(struct copy_conn *c, struct frame *f)
{
    int ret = frame_reader_next(&c->in, f);
    if (ret < 0)
        return protocol_broken(c, ret == -EMSGSIZE ? "a frame of it is too long or too short"
                                                   : "its bytes are not a frame");
    if (ret == 0)
        return 0;
    if (f->type == FRAME_ERROR)
        return on_error(c, f);
    if (!c->greeted)
        return f->type == FRAME_HELLO ? on_hello(c, f) : protocol_broken(c, "its first frame is not HELLO");
    return 1;
}

/* One read. 0, also when there is nothing, or the failure. */
static int take_bytes(struct copy_conn *c)
{
    uint8_t *at;
    size_t room;
    int ret = c->answered ? 1 : dial_take_ok(c->fd);
    c->answered = ret == 1;
    if (ret == -EPROTO)
        return fail(&c->failure, CUBBY_EPROTOCOL,
                    "the VMM answered the connection with something else than OK");
    if (ret < 0)
        return lost(c, "the guest's agent does not take connections");
    if (ret == 0)
        return 0;
    if (frame_reader_space(&c->in, &at, &room) < 0)
        return fail(&c->failure, CUBBY_ERESOURCE, "no memory for a frame of the guest's agent");
    ssize_t n = recv(c->fd, at, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        c->eof = true;
        return 0;
    }
    frame_reader_filled(&c->in, (size_t)n);
    note_progress(c);
    return 0;
}

int copy_receive(struct copy_conn *c, struct frame *f)
{
    note_progress(c); /* what the caller did in the meantime is not the guest's time */
    for (;;) {
        bool greeted = c->greeted;
        int ret = next_frame(c, f);
        if (ret != 0)
            return ret < 0 ? ret : 0;
        if (c->greeted != greeted)
            continue; /* that was HELLO; there may be more */
        if (c->eof)
            return lost(c, "the guest's agent ended the connection in the middle of the copy");
        ret = await(c, POLLIN);
        if (ret == 0)
            ret = take_bytes(c);
        if (ret < 0)
            return ret;
    }
}

/* ---- sending
 * ---------------------------------------------------------------------------------------------*/

/* While we send, the guest has nothing to say but HELLO and ERROR. */
static int hear(struct copy_conn *c)
{
    struct frame f;
    int ret = take_bytes(c);
    if (ret == 0)
        ret = next_frame(c, &f);
    if (ret == 0 && c->greeted) /* what came behind HELLO */
        ret = next_frame(c, &f);
    if (ret > 0)
        return protocol_broken(c, "it answered before it had all");
    return ret == 0 && c->eof ? lost(c, "the guest's agent ended the connection in the middle of the copy")
                              : ret;
}

int copy_send(struct copy_conn *c, const void *data, size_t len)
{
    note_progress(c); /* as in copy_receive() */
    for (size_t done = 0; done < len;) {
        int ret = hear(c);
        if (ret < 0)
            return ret;
        ssize_t n = send(c->fd, (const char *)data + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
            note_progress(c);
        } else if (errno == EAGAIN) {
            ret = await(c, POLLIN | POLLOUT);
        } else if (errno != EINTR) {
            /* A broken socket may still hold the reason. */
            struct frame f;
            return copy_receive(c, &f) < 0 ? c->failure.code : lost(c, "the connection to the guest broke");
        }
        if (ret < 0)
            return ret;
    }
    return is_cancelled(c) ? cancelled(c) : 0;
}

/* ---- life
 * ------------------------------------------------------------------------------------------------*/

/* All in one write: nothing can answer before it is through. */
static int greet(struct copy_conn *c, const void *request, size_t len)
{
    const struct msg_hello hello = {.version_min = PROTO_VERSION_MIN, .version_max = PROTO_VERSION_MAX};
    CLEANUP(mem_freep) uint8_t *all = malloc(GREETING_MAX + len);
    if (!all)
        return fail(&c->failure, CUBBY_ERESOURCE, "no memory for the request of a copy");
    size_t n = (size_t)snprintf((char *)all, GREETING_MAX, "CONNECT %d\n", PROTO_PORT_AGENT);
    n += msg_hello_encode(&hello, all + n, GREETING_MAX - n);
    memcpy(all + n, request, len);
    return copy_send(c, all, n + len);
}

int copy_open(struct copy_conn *c, struct cubby_box *box, const struct cubby_copy_options *o,
              const void *request, size_t len)
{
    char path[BOX_PATH_MAX];
    struct err e;
    *c = (struct copy_conn){.box = box_ref(box), .fd = -1};
    c->cancel_fd = o->cancel_fd > 0 ? o->cancel_fd : -1;
    c->stall_ms = o->stall_ms ? o->stall_ms : CUBBY_COPY_STALL_MS;
    frame_reader_init(&c->in, FRAME_FROM_GUEST);
    if (len == 0)
        return fail(&c->failure, CUBBY_EINTERNAL, "the request of a copy could not be encoded");
    int ret = await_box(c);
    if (ret < 0)
        return ret;
    c->failure.code = 0;
    folder_file(&box->folder, "vsock.sock", path);
    c->fd = unix_connect(path, &e);
    if (c->fd < 0)
        return lost(c, e.text);
    return greet(c, request, len);
}

void copy_close(struct copy_conn *c)
{
    fd_closep(&c->fd);
    frame_reader_fini(&c->in);
    box_unref(c->box);
}
