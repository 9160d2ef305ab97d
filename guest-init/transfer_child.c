/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the child of a fork without execve(), so it first rids itself of what it inherited:
 * every descriptor but its connection (an inherited end of some execution's pipe would keep that open), PID
 * 1's signal mask and its immunity from the OOM killer. Then it reads or writes files by plain blocking
 * calls, in PID 1's mount namespace: that is where the box's own mounts are. A client that leaves is found
 * out by the next read or write.
 */
#include "base/io.h"
#include "base/own.h"
#include "guest-init/files.h"
#include "guest-init/transfer.h"
#include "guest-init/user.h"
#include "proto/transfer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CLIENT_FD       3 /* the connection's number in this process */
#define LAST_WORD_S     5 /* for the client to close after the last frame; docs/protocol.md section 4.2 */
#define DESCRIPTORS_MAX 65536u

static int send_all(const void *bytes, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = send(CLIENT_FD, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* Nothing follows. What the client still sends is read, or the end of the connection would overtake what it
 * has not read yet. */
static void finish(void)
{
    char waste[4096];
    struct pollfd p = {.fd = CLIENT_FD, .events = POLLIN};
    uint64_t until = now_ns() + LAST_WORD_S * NSEC_PER_SEC;
    shutdown(CLIENT_FD, SHUT_WR);
    for (uint64_t now; (now = now_ns()) < until;) {
        poll(&p, 1, (int)((until - now) / NSEC_PER_MSEC) + 1);
        ssize_t n = recv(CLIENT_FD, waste, sizeof(waste), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
            return;
    }
}

static void send_error(int code, enum error_stage stage, const struct err *e)
{
    uint8_t frame[MSG_FRAME_MAX];
    struct msg_error m = {.stage = (uint16_t)stage, .errnum = (uint32_t)-code};
    snprintf(m.text, sizeof(m.text), "%s", e->text);
    send_all(frame, msg_error_encode(&m, frame, sizeof(frame)));
}

static void fail(int code, const struct err *e)
{
    send_error(code, code == -EPROTO ? STAGE_PROTOCOL : code == -ENOMEM ? STAGE_RESOURCE : STAGE_FILE, e);
}

/* --- PUT --- */

/* 1 with the next frame, 0 when the client has left, or a negative errno: what it sends is no frame. */
static int next_frame(struct frame_reader *in, struct frame *f)
{
    int ret;
    while ((ret = frame_reader_next(in, f)) == 0) {
        uint8_t *at;
        size_t room;
        if (frame_reader_space(in, &at, &room) < 0)
            return -ENOMEM;
        ssize_t n = recv(CLIENT_FD, at, room, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        frame_reader_filled(in, (size_t)n);
    }
    return ret;
}

/* All frames up to END. As next_frame(), but 1 means that everything is in place. */
static int receive(struct frame_reader *in, struct transfer_in *t, struct err *e)
{
    struct frame f;
    int ret;
    while ((ret = next_frame(in, &f)) > 0) {
        ret = transfer_frame(t, &f, e);
        if (ret < 0 || t->ended)
            return ret < 0 ? ret : 1;
    }
    if (ret == -EMSGSIZE || ret == -EPROTO)
        return err_set(e, -EPROTO, "a frame is of unknown type, or shorter or longer than its type allows");
    return ret < 0 ? err_set(e, ret, "no memory for a frame") : 0;
}

static int target_of(const struct msg_put *m, struct ftree_target *to, struct user_ids *ids, struct err *e)
{
    *to = (struct ftree_target){
        .path = m->path,
        .name = m->name,
        .contents = m->flags & PUT_CONTENTS,
        .no_replace = m->flags & PUT_NO_REPLACE,
        .archive = m->flags & PUT_ARCHIVE,
        .owned = !(m->flags & PUT_ARCHIVE),
    };
    int ret = m->owner[0] ? user_resolve(m->owner, "/etc/passwd", "/etc/group", ids, e) : 0;
    /* In a box we are root; a folder with the set-group-id bit must not say otherwise. */
    to->uid = m->owner[0] ? ids->uid : geteuid();
    to->gid = m->owner[0] ? ids->gid : getegid();
    return ret;
}

static void put(struct transfer_plan *plan)
{
    static struct transfer_in t;
    static struct user_ids ids;
    struct ftree_target to;
    struct err e = {0};
    uint8_t frame[FRAME_HEADER + TOTALS_SIZE];
    int ret = target_of(&plan->request.put, &to, &ids, &e);
    if (ret < 0) {
        send_error(ret, STAGE_USER, &e);
        return;
    }
    ret = ftree_writer_create(&t.writer, &to, &e);
    if (ret == 0)
        ret = receive(&plan->in, &t, &e);
    if (ret > 0)
        send_all(frame, msg_totals_encode(FRAME_DONE, ftree_writer_totals(t.writer), frame, sizeof(frame)));
    ftree_writer_destroy(t.writer); /* first: whoever hears of a failure finds no temporary files */
    if (ret < 0)
        fail(ret, &e);
}

/* --- GET --- */

static int flush(struct transfer_out *t, const void *frames, size_t len)
{
    (void)t;
    return send_all(frames, len);
}

static void get(const struct transfer_plan *plan)
{
    static struct transfer_out t;
    const struct msg_get *m = &plan->request.get;
    const struct ftree_source src = {
        .path = m->path,
        .follow = m->flags & GET_FOLLOW,
        .archive = m->flags & GET_ARCHIVE,
    };
    struct err e = {0};
    t.flush = flush;
    int ret = transfer_send(&t, &src, &e);
    if (ret < 0 && !t.broken)
        fail(ret, &e);
}

/* --- the process --- */

static void close_inherited(int fd)
{
    if (fd != CLIENT_FD)
        dup2(fd, CLIENT_FD);
    /* Not there before Linux 5.9. */
    if (syscall(SYS_close_range, CLIENT_FD + 1, ~0u, 0) < 0)
        for (int i = CLIENT_FD + 1; i < (int)DESCRIPTORS_MAX; i++)
            close(i);
}

_Noreturn void transfer_child_run(struct transfer_plan *plan)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct err e = {0};
    int ret = tree_enter(plan->tree);
    if (plan->reset_oom_score)
        file_put(-1, "/proc/self/oom_score_adj", "0");
    close_inherited(plan->fd);
    fd_set_nonblock(CLIENT_FD, 0);
    if (ret < 0) {
        err_set(&e, ret, "cannot enter the transfer's group: %s", strerror(-ret));
        send_error(ret, STAGE_CGROUP, &e);
    } else if (plan->put) {
        put(plan);
    } else {
        get(plan);
    }
    finish();
    _exit(0);
}
