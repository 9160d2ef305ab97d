/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: few and small frames, so reading is one loop, and a frame to send either fits the
 * socket's empty buffer or the guest does not read, which counts as a guest that cannot be asked.
 */
#include "runtime/control.h"

#include "base/log.h"
#include "base/own.h"
#include "proto/ports.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void control_init(struct control *c)
{
    *c = (struct control){.fd = -1};
    frame_reader_init(&c->reader, FRAME_FROM_GUEST);
}

void control_attach(struct control *c, int fd)
{
    fd_closep(&c->fd);
    c->fd = fd;
}

void control_fini(struct control *c)
{
    fd_closep(&c->fd);
    frame_reader_fini(&c->reader);
}

static int handle_ready(struct control *c, const struct frame *f, struct err *e)
{
    if (c->ready || msg_ready_decode(f, &c->hello) < 0)
        return err_set(e, -EPROTO, "the guest's agent sent a READY that is not allowed");
    if (c->hello.version_min > PROTO_VERSION_MAX || c->hello.version_max < PROTO_VERSION_MIN)
        return err_set(e, -EPROTONOSUPPORT,
                       "the guest's agent speaks versions %u to %u of the protocol, this program %u to %u; "
                       "use the initrd "
                       "that was built with it",
                       c->hello.version_min, c->hello.version_max, PROTO_VERSION_MIN, PROTO_VERSION_MAX);
    c->ready = true;
    return 0;
}

static int handle(struct control *c, const struct frame *f, struct err *e)
{
    struct msg_event event;
    switch (f->type) {
    case FRAME_HELLO:
    case FRAME_PONG:
        return 0;
    case FRAME_READY:
        return handle_ready(c, f, e);
    case FRAME_BYE:
        c->bye = msg_bye_decode(f, &c->last_word) == 0;
        return c->bye ? 0 : err_set(e, -EPROTO, "the guest's agent sent a BYE that is not allowed");
    case FRAME_EVENT:
        if (msg_event_decode(f, &event) < 0)
            return err_set(e, -EPROTO, "the guest's agent sent an EVENT that is not allowed");
        c->out_of_memory |= event.kind == EVENT_OOM;
        log_info(LOG_BOX, "guest event %u, value %llu: %s", event.kind, (unsigned long long)event.value,
                 event.text);
        return 0;
    default:
        return err_set(e, -EPROTO, "the guest's agent sent a frame %s on its control connection",
                       frame_name(f->type));
    }
}

static int handle_all(struct control *c, struct err *e)
{
    struct frame f;
    int ret;
    while ((ret = frame_reader_next(&c->reader, &f)) > 0) {
        ret = handle(c, &f, e);
        if (ret < 0)
            return ret;
    }
    return ret < 0 ? err_set(e, ret, "the guest's agent sent a frame that is not allowed") : 0;
}

static int read_all(struct control *c, struct err *e)
{
    for (;;) {
        uint8_t *at;
        size_t room;
        int ret = frame_reader_space(&c->reader, &at, &room);
        if (ret < 0)
            return err_set(e, ret, "no memory for a frame of the guest's agent");
        ssize_t n = recv(c->fd, at, room, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            return err_sys(e, "the control connection to the guest broke");
        if (n == 0)
            return err_set(e, -ENODATA, "the guest closed its control connection");
        frame_reader_filled(&c->reader, (size_t)n);
        ret = handle_all(c, e);
        if (ret < 0)
            return ret;
    }
}

int control_process(struct control *c, struct err *e)
{
    if (c->fd < 0)
        return 0;
    int ret = read_all(c, e);
    if (ret < 0)
        fd_closep(&c->fd);
    return ret;
}

int control_shutdown(struct control *c, uint32_t grace_ms)
{
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_shutdown m = {.grace_ms = grace_ms < SHUTDOWN_GRACE_MAX_MS ? grace_ms : SHUTDOWN_GRACE_MAX_MS};
    if (c->fd < 0 || !c->ready)
        return -ENOTCONN;
    size_t len = msg_shutdown_encode(&m, frame, sizeof(frame));
    ssize_t n = send(c->fd, frame, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == (ssize_t)len ? 0 : -EAGAIN;
}
