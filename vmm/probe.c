/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the checks build on each other: device, permission and API version (kvm_open), then
 * each capability by name, then guests. Every guest runs in a child of its own that sends its answer through
 * a pipe; the parent waits for it until a deadline and then kills the child. So the answer "KVM hangs" costs
 * seconds, not a reboot, and nothing that a broken KVM does to the child harms the probe.
 */
#include "vmm/probe.h"
#include "base/io.h"
#include "base/own.h"
#include "vmm/kvm.h"
#include "vmm/probe_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_DEADLINE_MS 5000
#define NO_GUESTS_REMEDY                                                                                     \
    "use a host whose KVM runs kernels (bare metal, or a VM with nested virtualization), or the lab: "       \
    "lab/run -- COMMAND"

struct answer {
    int code; /* of probe_guest_run() */
    uint64_t loop_ns;
    struct err err;
};

static struct probe_check *add(struct probe *p, const char *name, bool ok, const char *remedy,
                               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static struct probe_check *add(struct probe *p, const char *name, bool ok, const char *remedy,
                               const char *fmt, ...)
{
    if (p->count == PROBE_CHECKS_MAX)
        return &p->check[PROBE_CHECKS_MAX - 1]; /* not reached: the tables are shorter */
    struct probe_check *c = &p->check[p->count++];
    *c = (struct probe_check){.ok = ok, .required = true};
    snprintf(c->name, sizeof(c->name), "%s", name);
    if (!ok)
        snprintf(c->remedy, sizeof(c->remedy), "%s", remedy);
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->detail, sizeof(c->detail), fmt, args);
    va_end(args);
    return c;
}

/* An error text of ours reads "what went wrong: what to try"; here the two have fields of their own. */
static void add_error(struct probe *p, const char *name, const struct err *e)
{
    const char *colon = strrchr(e->text, ':');
    size_t len = colon ? (size_t)(colon - e->text) : strlen(e->text);
    const char *remedy = colon && colon[1] ? colon + 2 : "see the message";
    add(p, name, false, remedy, "%.*s", (int)len, e->text);
}

/* Device, permission, version: one call finds all three out, its error code tells which. */
static int check_device(struct probe *p, const char *device, struct kvm *k)
{
    struct err e;
    int r = kvm_open(k, device, &e);
    if (r == -ENOENT || r == -ENODEV) {
        add_error(p, "device", &e);
        return r;
    }
    add(p, "device", true, "", "%s is there", device);
    if (r && r != -ENOTSUP) {
        add_error(p, "permission", &e);
        return r;
    }
    add(p, "permission", true, "", "this user may open it");
    if (r) {
        add_error(p, "api-version", &e);
        return r;
    }
    add(p, "api-version", true, "", "KVM speaks version 12");
    return 0;
}

static bool check_needs(struct probe *p, const struct kvm *k, const struct kvm_need *need)
{
    bool all = true;
    for (; need->name; need++) {
        bool ok = kvm_cap(k, need->cap) >= need->min;
        add(p, need->name, ok, "use a host with a newer kernel", "%s: %s", ok ? "there" : "missing",
            need->why);
        all &= ok;
    }
    return all;
}

/* The child's whole life. */
static void guest_child(const struct kvm *k, const struct probe_guest *g, int fd)
{
    struct answer a = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    a.code = probe_guest_run(k, g, &a.loop_ns, &a.err);
    _exit(write_full(fd, &a, sizeof(a)) ? 1 : 0);
}

/* Waits for the child's answer. 0, -ETIMEDOUT, or -ENODATA when it died without one. */
static int await_answer(int fd, struct answer *a)
{
    struct pollfd pfd = {.fd = fd, .events = POLLIN};
    uint64_t deadline = now_ns() + GUEST_DEADLINE_MS * NSEC_PER_MSEC;
    for (;;) {
        uint64_t now = now_ns();
        int r = poll(&pfd, 1, now < deadline ? (int)((deadline - now) / NSEC_PER_MSEC) + 1 : 0);
        if (r > 0)
            return read_full(fd, a, sizeof(*a));
        if (r == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* Runs one guest in a child. The child is gone afterwards, unless the kernel cannot even kill it. */
static int ask_guest(const struct kvm *k, const struct probe_guest *g, struct answer *a)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return -errno;
    CLEANUP(fd_closep) int from = fds[0];
    CLEANUP(fd_closep) int to = fds[1];
    fflush(NULL); /* or the child would hold a copy of what is buffered */
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        guest_child(k, g, to);
    fd_closep(&to);
    to = -1;
    int r = await_answer(from, a);
    kill(pid, SIGKILL);
    for (int i = 0; i < 100 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        usleep(10000);
    return r;
}

static void check_speed(struct probe *p, const struct probe_guest *g, const struct answer *a)
{
    double hz = PROBE_LOOP_INSNS / ((double)(a->loop_ns ? a->loop_ns : 1) / (double)NSEC_PER_SEC);
    bool ok = hz >= PROBE_SLOW_HZ;
    add(p, g->name, ok, NO_GUESTS_REMEDY, "%.0f million instructions a second%s", hz / 1e6,
        ok ? "" : ": they are emulated one by one, a kernel would take minutes to boot");
}

static bool check_guests(struct probe *p, const struct kvm *k)
{
    bool all = true;
    for (const struct probe_guest *g = probe_guests; g->name; g++) {
        struct answer a = {0};
        int r = ask_guest(k, g, &a);
        bool ok = r == 0 && a.code == 0;
        if (ok && g->timed)
            check_speed(p, g, &a);
        else if (r == -ETIMEDOUT)
            add(p, g->name, false, NO_GUESTS_REMEDY, "a guest cannot %s: KVM hung for %d s", g->does,
                GUEST_DEADLINE_MS / 1000);
        else if (r)
            add(p, g->name, false, NO_GUESTS_REMEDY, "a guest cannot %s: its process died", g->does);
        else
            add(p, g->name, ok, NO_GUESTS_REMEDY, ok ? "a guest can %s%s" : "a guest cannot %s: %s", g->does,
                ok ? "" : a.err.text);
        all &= p->check[p->count - 1].ok;
    }
    return all;
}

/* Guest memory in 2 MiB pages saves nearly all nested page faults of a boot; a hint, not a need. */
static void check_huge_pages(struct probe *p)
{
    char mode[64] = "";
    CLEANUP(mem_freep) char *text = NULL;
    size_t len = 0;
    if (read_file("/sys/kernel/mm/transparent_hugepage/enabled", sizeof(mode), &text, &len, NULL) == 0)
        sscanf(text, "%*[^[][%63[^]]", mode);
    if (!mode[0] && text)
        sscanf(text, "[%63[^]]", mode);
    bool ok = strcmp(mode, "always") == 0 || strcmp(mode, "madvise") == 0;
    struct probe_check *c =
        add(p, "huge-pages", ok, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled",
            ok ? "guest memory can use 2 MiB pages (%s)"
               : "guest memory is in 4 KiB pages (%s): boots are slower",
            mode[0] ? mode : "no transparent huge pages");
    c->required = false;
}

void probe_run(struct probe *p, const char *device)
{
    p->count = 0;
    struct kvm k;
    if (check_device(p, device, &k))
        return;
    bool all = check_needs(p, &k, kvm_needs);
    all &= check_needs(p, &k, kvm_arch_needs);
    if (all)
        check_guests(p, &k);
    check_huge_pages(p);
    kvm_close(&k);
}

bool probe_usable(const struct probe *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->check[i].required && !p->check[i].ok)
            return false;
    }
    return p->count > 0;
}

/* KVM is there, with all that it says it can do, and still a guest failed. */
static bool guests_failed(const struct probe *p)
{
    bool failed = false;
    for (unsigned i = 0; i < p->count; i++) {
        const struct probe_check *c = &p->check[i];
        if (strncmp(c->name, "guest-", 6) == 0)
            failed |= !c->ok;
        else if (c->required && !c->ok)
            return false;
    }
    return failed;
}

void probe_print(const struct probe *p, FILE *to)
{
    for (unsigned i = 0; i < p->count; i++) {
        const struct probe_check *c = &p->check[i];
        fprintf(to, "%-4s %s: %s%s%s\n",
                c->ok         ? "ok"
                : c->required ? "FAIL"
                              : "hint",
                c->name, c->detail, c->ok ? "" : "; ", c->remedy);
    }
    if (probe_usable(p))
        fputs("This host can run boxes.\n", to);
    else if (guests_failed(p))
        fputs("This host has a KVM, but cannot run boxes: it emulates the code of a kernel piece by piece "
              "instead "
              "of running it, and not all of it.\n",
              to);
    else
        fputs("This host cannot run boxes.\n", to);
}

int probe_print_json(const struct probe *p, FILE *to)
{
    json_t *checks = json_array();
    for (unsigned i = 0; i < p->count; i++) {
        const struct probe_check *c = &p->check[i];
        json_array_append_new(checks, json_pack("{s:s, s:b, s:b, s:s, s:s}", "name", c->name, "ok",
                                                (int)c->ok, "required", (int)c->required, "detail", c->detail,
                                                "remedy", c->remedy));
    }
    json_t *root = json_pack("{s:b, s:o}", "usable", (int)probe_usable(p), "checks", checks);
    int r = root ? json_dumpf(root, to, JSON_INDENT(2)) : -1;
    json_decref(root);
    if (r == 0)
        fputc('\n', to);
    return r ? -ENOMEM : 0;
}
