/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three pipes' worth of plumbing and no protocol of our own. The events pipe tells what
 * happens and, by ending without a last word, that the VMM was killed. The alive pipe works the other way
 * round: the kernel closes our end whenever and however we die. The root file system and the box's disk go
 * over as open descriptors under the names /proc/self/fd/N, so no character in a path can be mistaken for an
 * option, and the files need no name. The VMM opens them anew, so its locks on them end with it.
 */
#include "runtime/vmm_process.h"

#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "runtime/errors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define EVENTS_FD 3
#define ALIVE_FD  4
#define ROOTFS_FD 5
#define DISK_FD   6
#define ARGS_MAX  32
#define LOG_TAIL  2048

/* cubby-vmm's own default (vmm/config.h says why each), and for PID 1: put the root together from the first
 * disk and, if there is one, the second (docs/init-contract.md). */
#define CMDLINE      "console=hvc0 quiet panic=-1 reboot=t cubby.root=/dev/vda"
#define CMDLINE_DISK CMDLINE " cubby.upper=/dev/vdb"

struct pipes {
    int events[2], alive[2]; /* [0] is the reading end */
    int null, log;
};

static int open_pipes(struct pipes *p, const struct vmm_config *c, const char *log_path, struct err *e)
{
    *p = (struct pipes){.events = {-1, -1}, .alive = {-1, -1}, .null = -1, .log = -1};
    if (pipe2(p->events, O_CLOEXEC) < 0 || pipe2(p->alive, O_CLOEXEC) < 0)
        return err_sys(e, "cannot create a pipe for the VMM");
    p->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (p->null < 0)
        return err_sys(e, "cannot open /dev/null");
    if (c->log_fd < 0) {
        p->log = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (p->log < 0)
            return err_sys(e, "cannot create '%s'", log_path);
    }
    return fd_set_nonblock(p->events[0], 1);
}

static void close_pipes(struct pipes *p)
{
    fd_closep(&p->events[0]);
    fd_closep(&p->events[1]);
    fd_closep(&p->alive[0]);
    fd_closep(&p->alive[1]);
    fd_closep(&p->null);
    fd_closep(&p->log);
}

/* The command line, with room for its texts. */
struct arguments {
    char *argv[ARGS_MAX]; /* for all of build_arguments() */
    size_t count;
    char cpus[16], memory[16], root[48], disk[48], vsock[BOX_PATH_MAX], timeline[BOX_PATH_MAX];
};

static void add(struct arguments *a, const char *word)
{
    a->argv[a->count++] = (char *)(uintptr_t)word; /* execve() does not write to it */
}

static void add_option(struct arguments *a, const char *option, const char *value)
{
    add(a, option);
    add(a, value);
}

static void build_arguments(struct arguments *a, const struct vmm_config *c, const struct box_folder *folder)
{
    a->count = 0;
    snprintf(a->cpus, sizeof(a->cpus), "%u", c->cpus);
    snprintf(a->memory, sizeof(a->memory), "%u", c->memory_mib);
    snprintf(a->root, sizeof(a->root), "/proc/self/fd/%d,ro,serial=root", ROOTFS_FD);
    snprintf(a->disk, sizeof(a->disk), "/proc/self/fd/%d,serial=disk", DISK_FD);
    folder_file(folder, "vsock.sock", a->vsock);
    folder_file(folder, "timeline.json", a->timeline);
    /* No --console: the VMM keeps the last lines for its last event, so a guest that writes without end fills
     * no disk. */
    add(a, c->program);
    add_option(a, "--kernel", c->kernel);
    add_option(a, "--initrd", c->initrd);
    add_option(a, "--cmdline", c->disk_fd >= 0 ? CMDLINE_DISK : CMDLINE);
    add_option(a, "--cpus", a->cpus);
    add_option(a, "--memory", a->memory);
    add_option(a, "--disk", a->root);
    if (c->disk_fd >= 0)
        add_option(a, "--disk", a->disk);
    add_option(a, "--vsock", a->vsock);
    add_option(a, "--events", "3");
    add_option(a, "--die-with", "4");
    if (c->timeline)
        add_option(a, "--timeline", a->timeline);
    add(a, NULL);
}

int vmm_process_start(struct vmm_process *p, const struct vmm_config *c, const struct box_folder *folder,
                      struct err *e)
{
    struct arguments a;
    struct pipes pipes;
    char log_path[BOX_PATH_MAX];
    *p = (struct vmm_process){.child.pidfd = -1, .events_fd = -1, .alive_fd = -1};
    build_arguments(&a, c, folder);
    folder_file(folder, "vmm.log", log_path);
    int ret = open_pipes(&pipes, c, log_path, e);
    if (ret == 0) {
        int log_fd = c->log_fd >= 0 ? c->log_fd : pipes.log;
        struct spawn_request r = {
            .path = c->program,
            .argv = a.argv,
            .nfds = c->disk_fd >= 0 ? 7 : 6,
            .fds = {{pipes.null, 0},
                    {pipes.null, 1},
                    {log_fd, 2},
                    {pipes.events[1], EVENTS_FD},
                    {pipes.alive[0], ALIVE_FD},
                    {c->rootfs_fd, ROOTFS_FD},
                    {c->disk_fd, DISK_FD}},
        };
        ret = spawn(&p->child, &r, e);
    }
    if (ret == 0) {
        p->events_fd = STEAL_FD(pipes.events[0]);
        p->alive_fd = STEAL_FD(pipes.alive[1]);
    }
    close_pipes(&pipes);
    return ret;
}

/* One parsed event, if a whole line is there. */
static int next_event(struct vmm_process *p, struct vmm_event *ev)
{
    const char *line;
    size_t len;
    if (!line_reader_next(&p->lines, &line, &len))
        return 0;
    if (vmm_event_parse(line, len, ev) < 0) {
        log_warn(LOG_BOX, "the VMM sent an event that cannot be understood");
        return -EPROTO;
    }
    if (ev->kind == VMM_ENDED || ev->kind == VMM_FAILED) {
        p->told_end = true;
        p->end = *ev;
    }
    return 1;
}

int vmm_process_event(struct vmm_process *p, struct vmm_event *ev)
{
    while (p->events_fd >= 0) {
        int ret = next_event(p, ev);
        if (ret > 0)
            return 1;
        if (ret == 0)
            ret = line_reader_fill(&p->lines, p->events_fd);
        if (ret == -EAGAIN)
            return 0;
        if (ret <= 0)
            fd_closep(&p->events_fd);
    }
    return -EPIPE;
}

void vmm_process_fini(struct vmm_process *p)
{
    child_fini(&p->child);
    fd_closep(&p->events_fd);
    fd_closep(&p->alive_fd);
    line_reader_fini(&p->lines);
}

/* The last line of the VMM's stderr without "cubby-vmm: " in front, in `out`; "" when there is none. */
static void last_log_line(const struct box_folder *folder, char *out, size_t cap)
{
    char path[BOX_PATH_MAX], text[LOG_TAIL + 1];
    folder_file(folder, "vmm.log", path);
    out[0] = '\0';
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    size_t want = size > LOG_TAIL ? LOG_TAIL : (size_t)(size > 0 ? size : 0);
    if (want == 0 || pread_full(fd, text, want, (uint64_t)size - want) < 0)
        return;
    text[want] = '\0';
    for (size_t len = strlen(text); len > 0 && text[len - 1] == '\n'; len--)
        text[len - 1] = '\0';
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    static const char prefix[] = "cubby-vmm: ";
    if (strncmp(line, prefix, sizeof(prefix) - 1) == 0)
        line += sizeof(prefix) - 1;
    snprintf(out, cap, "%s", line);
}

static void explain_status(const struct child *c, const char *log, struct err *e)
{
    int status = c->status;
    if (c->status_lost && !log[0])
        err_set(e, -ECHILD, "its VMM has ended without a word");
    else if (WIFSIGNALED(status))
        err_set(e, -ESRCH, "its VMM was ended by signal %d (SIG%s)", WTERMSIG(status),
                sigabbrev_np(WTERMSIG(status)));
    else if (log[0])
        err_set(e, -EINVAL, "%s", log);
    else
        err_set(e, -EINVAL, "its VMM ended with exit code %d and said nothing", WEXITSTATUS(status));
}

bool vmm_process_explain(const struct vmm_process *p, const struct box_folder *folder, struct err *e)
{
    static const struct {
        const char *reason, *words;
    } reasons[] = {
        {"poweroff", "the guest powered itself off"},
        {"reboot", "the guest asked for a restart"},
        {"stopped", "its VMM was asked to stop"},
        {"owner-gone", "its owner is gone"},
        {"panic", "the guest's kernel panicked"},
        {"init-failed", "the guest's init gave up"},
        {"triple-fault", "the guest reset itself without notice (a triple fault)"},
        {"internal-error", "KVM could not go on with the guest"},
        {"vcpu-error", "a virtual CPU failed"},
        {"host-error", "this host failed the VM"},
    };
    const char *detail = p->end.detail;
    if (!p->told_end || p->end.kind == VMM_FAILED) {
        char log[EVENT_DETAIL_MAX];
        last_log_line(folder, log, sizeof(log));
        explain_status(&p->child, p->told_end && detail[0] ? detail : log, e);
        return p->child.status_lost || WIFSIGNALED(p->child.status);
    }
    const char *words = p->end.name;
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (strcmp(p->end.name, reasons[i].reason) == 0)
            words = reasons[i].words;
    }
    err_set(e, -ECONNRESET, "%s%s%s", words, detail[0] ? ": " : "", detail);
    return true;
}
