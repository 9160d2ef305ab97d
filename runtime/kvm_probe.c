/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the probe's guests run in cubby-vmm, not here, because a KVM that hangs must not hang
 * a host program, and because libcubby links no VMM code. Its answer is gathered from a pipe up to a bound.
 */
#include "runtime/kvm_probe.h"

#include "base/io.h"
#include "base/own.h"
#include "runtime/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MAX (256 * 1024)

int kvm_probe_start(struct kvm_probe *p, const char *program, struct err *e)
{
    *p = (struct kvm_probe){.child.pidfd = -1, .out_fd = -1};
    CLEANUP(fd_closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out[2];
    if (null < 0)
        return err_sys(e, "cannot open /dev/null");
    if (pipe2(out, O_CLOEXEC) < 0)
        return err_sys(e, "cannot create a pipe");
    CLEANUP(fd_closep) int from = out[0];
    CLEANUP(fd_closep) int to = out[1];
    char name[] = "cubby-vmm", probe[] = "--probe", json[] = "--json";
    char *argv[] = {name, probe, json, NULL};
    struct spawn_request r = {
        .path = program, .argv = argv, .nfds = 3, .fds = {{null, 0}, {to, 1}, {null, 2}}};
    int ret = fd_set_nonblock(from, 1);
    if (ret < 0)
        return err_set(e, ret, "cannot prepare a pipe: %s", strerror(-ret));
    ret = spawn(&p->child, &r, e);
    if (ret < 0)
        return ret;
    p->out_fd = STEAL_FD(from);
    p->deadline_ns = now_ns() + KVM_PROBE_TIMEOUT_MS * NSEC_PER_MSEC;
    return 0;
}

/* Room for at least one byte more, and the NUL behind them. 0, -EFBIG or -ENOMEM. */
static int make_room(struct kvm_probe *p)
{
    if (p->len < p->cap)
        return 0;
    size_t cap = p->cap ? 2 * p->cap : 8192;
    if (cap > ANSWER_MAX)
        return -EFBIG;
    char *bigger = realloc(p->text, cap + 1);
    if (!bigger)
        return -ENOMEM;
    p->text = bigger;
    p->cap = cap;
    return 0;
}

bool kvm_probe_continue(struct kvm_probe *p)
{
    while (!p->done) {
        int ret = make_room(p);
        ssize_t n = ret < 0 ? -1 : read(p->out_fd, p->text + p->len, p->cap - p->len);
        if (n > 0) {
            p->len += (size_t)n;
            continue;
        }
        if (n < 0 && ret == 0 && errno == EINTR)
            continue;
        if (n < 0 && ret == 0 && errno == EAGAIN && now_ns() < p->deadline_ns)
            return false;
        p->done = true;
    }
    fd_closep(&p->out_fd);
    child_fini(&p->child);
    return true;
}

json_t *kvm_probe_answer(struct kvm_probe *p, struct err *e)
{
    json_error_t why;
    json_t *answer = p->len ? json_loadb(p->text, p->len, JSON_REJECT_DUPLICATES, &why) : NULL;
    if (!json_is_object(answer)) {
        json_decref(answer);
        err_set(e, -EPROTO, "the probe of KVM gave no answer that can be understood");
        return NULL;
    }
    return answer;
}

void kvm_probe_fini(struct kvm_probe *p)
{
    fd_closep(&p->out_fd);
    child_fini(&p->child);
    free(p->text);
    *p = (struct kvm_probe){.child.pidfd = -1, .out_fd = -1};
}

json_t *kvm_probe_run(const char *program, struct err *e)
{
    struct kvm_probe p;
    if (kvm_probe_start(&p, program, e) < 0)
        return NULL;
    while (!kvm_probe_continue(&p)) {
        uint64_t now = now_ns();
        struct pollfd pfd = {.fd = p.out_fd, .events = POLLIN};
        poll(&pfd, 1, now < p.deadline_ns ? (int)((p.deadline_ns - now) / NSEC_PER_MSEC) + 1 : 0);
    }
    json_t *answer = kvm_probe_answer(&p, e);
    kvm_probe_fini(&p);
    return answer;
}

static bool is_failure(const json_t *check)
{
    return json_is_false(json_object_get(check, "ok")) && json_is_true(json_object_get(check, "required"));
}

static const char *text_of(const json_t *check, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(check, key));
    return text && text[0] ? text : otherwise;
}

/* A guest that is slow, or has not answered in time, may as well have a busy host. */
static bool is_a_matter_of_time(const json_t *check)
{
    return strcmp(text_of(check, "name", ""), "guest-speed") == 0 ||
           strstr(text_of(check, "detail", ""), "KVM hung");
}

enum kvm_verdict kvm_probe_verdict(const json_t *answer, struct err *e)
{
    const json_t *usable = json_object_get(answer, "usable");
    err_set(e, -EPROTO, "the probe's answer cannot be understood");
    if (!json_is_boolean(usable))
        return KVM_UNKNOWN;
    if (json_is_true(usable))
        return KVM_USABLE;
    enum kvm_verdict verdict = KVM_UNKNOWN;
    size_t i;
    json_t *check;
    json_array_foreach(json_object_get(answer, "checks"), i, check)
    {
        if (!is_failure(check) || verdict == KVM_UNUSABLE)
            continue;
        err_set(e, -ENODEV, "%.220s; %.180s", text_of(check, "detail", "a check failed"),
                text_of(check, "remedy", "try 'cubby doctor'"));
        if (!is_a_matter_of_time(check))
            verdict = KVM_UNUSABLE;
    }
    return verdict;
}
