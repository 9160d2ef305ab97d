/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby-init, PID 1 of a box (docs/init-contract.md).
 *
 * Theory of operation: the phases of a boot are a table, run in order; the first that fails ends the boot
 * with the reason on the console and by doorbell. After the last, PID 1 serves, until it is asked to stop.
 * From the moment a workload may run, nothing here gives up any more: PID 1 that exits is a kernel panic.
 *
 * For the sake of boot latency the phases are ordered so that the host hears of us as early as possible: what
 * an execution needs but readiness does not (files in /etc) is done after READY is on its way, before the
 * first request is looked at.
 */
#include "base/io.h"
#include "base/log.h"
#include "base/own.h"
#include "guest-init/agent.h"
#include "guest-init/cgroup.h"
#include "guest-init/cmdline.h"
#include "guest-init/doorbell.h"
#include "guest-init/files.h"
#include "guest-init/mounts.h"
#include "guest-init/net.h"
#include "guest-init/root.h"
#include "proto/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
/* needs sys/socket.h first */
#include <linux/vm_sockets.h>

#define LISTEN_BACKLOG 512
#define BYE_WAIT_MS    200
#define CGROUP_ROOT    "/sys/fs/cgroup"

struct init {
    struct boot_config config;
    struct msg_ready ready;
    size_t keep_max; /* bytes of output of detached executions */
    struct agent *agent;
    int disk;      /* that the box writes to, or -1 */
    int box_group; /* until the agent takes it */
    bool doorbell;
};

static uint64_t boot_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void ring(const struct init *i, enum doorbell what)
{
    if (i->doorbell)
        doorbell_ring(what);
}

/* --- phases --- */

static int phase_begin(struct init *i, struct err *e)
{
    (void)e;
    i->doorbell = doorbell_open();
    ring(i, DOORBELL_INIT_STARTED);
    i->ready.init_ns = boot_ns();
    return 0;
}

static int phase_early(struct init *i, struct err *e)
{
    (void)i;
    return mounts_early(e);
}

static int phase_config(struct init *i, struct err *e)
{
    char line[CMDLINE_MAX];
    int ret = file_get(-1, "/proc/cmdline", line, sizeof(line));
    if (ret < 0)
        return err_set(e, ret, "cannot read '/proc/cmdline': %s", strerror(-ret));
    ret = cmdline_parse(line, &i->config, e);
    if (ret == 0 && i->config.log[0] && log_configure(i->config.log) < 0)
        log_warn(LOG_INIT, "cubby.log='%s': a word is not known", i->config.log);
    return ret;
}

static int phase_root(struct init *i, struct err *e)
{
    return root_enter(&i->config, &i->disk, e);
}

static int phase_mounts(struct init *i, struct err *e)
{
    int ret = mounts_final(e);
    i->ready.root_ns = boot_ns();
    ring(i, DOORBELL_ROOT_READY);
    return ret;
}

static int phase_net(struct init *i, struct err *e)
{
    return net_up(i->config.hostname, e);
}

/* PID 1 must outlive any shortage: it is never the OOM killer's choice, and has descriptors enough. */
static int phase_self(struct init *i, struct err *e)
{
    (void)i;
    struct rlimit files = {.rlim_cur = 65536, .rlim_max = 1048576};
    umask(022);
    file_put(-1, "/proc/self/oom_score_adj", "-1000");
    return setrlimit(RLIMIT_NOFILE, &files) < 0 ? err_sys(e, "cannot raise the limit of open files") : 0;
}

static int phase_cgroup(struct init *i, struct err *e)
{
    struct sysinfo info;
    sysinfo(&info);
    uint64_t memory = (uint64_t)info.freeram * info.mem_unit;
    i->box_group = cgroup_make_box(CGROUP_ROOT, memory, &i->ready.memory_bytes, e);
    i->keep_max = (size_t)cgroup_reserve(memory) / 2;
    return i->box_group < 0 ? i->box_group : 0;
}

static int listen_vsock(struct err *e)
{
    struct sockaddr_vm sa = {.svm_family = AF_VSOCK, .svm_port = PROTO_PORT_AGENT, .svm_cid = VMADDR_CID_ANY};
    CLEANUP(fd_closep) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_sys(e, "cannot make a vsock socket");
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        return err_sys(e, "cannot listen on vsock port %u", sa.svm_port);
    return STEAL_FD(fd);
}

static int phase_agent(struct init *i, struct err *e)
{
    struct utsname name;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof(cpus), &cpus);
    uname(&name);
    i->ready.cpus = (uint32_t)CPU_COUNT(&cpus);
    i->ready.version_min = PROTO_VERSION_MIN;
    i->ready.version_max = PROTO_VERSION_MAX;
    snprintf(i->ready.release, sizeof(i->ready.release), "%.*s", READY_RELEASE_MAX, name.release);
    struct agent_config c = {
        .listen_fd = listen_vsock(e), .box_group = i->box_group, .reset_oom_score = true, .ready = i->ready};
    c.keep_max = i->keep_max;
    if (c.listen_fd < 0)
        return c.listen_fd;
    return agent_create(&i->agent, &c, e);
}

/* Nobody need be there: a VMM that is used without the library has no one listening on the host's side. */
static int phase_ready(struct init *i, struct err *e)
{
    (void)e;
    struct sockaddr_vm sa = {
        .svm_family = AF_VSOCK, .svm_port = PROTO_PORT_CONTROL, .svm_cid = VMADDR_CID_HOST};
    i->agent->config.ready.agent_ns = boot_ns();
    ring(i, DOORBELL_AGENT_READY);
    if (i->doorbell)
        doorbell_close(); /* children come next */
    i->doorbell = false;
    int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 || errno == EINPROGRESS))
        agent_connect_control(i->agent, fd);
    else
        fd_closep(&fd);
    return 0;
}

static int phase_files(struct init *i, struct err *e)
{
    (void)e;
    net_write_files("/etc", i->config.hostname);
    return 0;
}

static const struct phase {
    const char *name;
    int (*run)(struct init *i, struct err *e);
} phases[] = {
    {"begin", phase_begin}, {"early mounts", phase_early},    {"configuration", phase_config},
    {"root", phase_root},   {"mounts", phase_mounts},         {"network", phase_net},
    {"self", phase_self},   {"control groups", phase_cgroup}, {"agent", phase_agent},
    {"ready", phase_ready}, /* from here on the host may send executions */
    {"files", phase_files},
};

/* --- the end --- */

static _Noreturn void machine_off(void)
{
    /* The kernel is told to reset by triple fault (reboot=t), which is the VMM's sign. */
    reboot(RB_AUTOBOOT);
    for (;;)
        pause();
}

static _Noreturn void boot_failed(const struct init *i, const char *phase, const struct err *e)
{
    log_err(LOG_INIT, "boot failed in phase '%s': %s", phase, e->text);
    ring(i, DOORBELL_INIT_FAILED);
    machine_off();
}

static _Noreturn void stop(struct init *i)
{
    static const char *const texts[] = {
        [BYE_SHUTDOWN] = "shut down as asked by the host",
        [BYE_POWEROFF] = "powered off from inside",
        [BYE_REBOOT] = "rebooted from inside",
        [BYE_FAILED] = "PID 1 cannot go on",
    };
    /* What is not in any execution's group (a process that moved itself out) ends here. */
    kill(-1, SIGKILL);
    root_leave(i->disk);
    agent_say_bye(i->agent, texts[i->agent->why], BYE_WAIT_MS);
    i->doorbell = doorbell_open();
    ring(i, i->agent->why == BYE_REBOOT ? DOORBELL_REBOOT : DOORBELL_POWEROFF);
    machine_off();
}

int main(void)
{
    static struct init init = {.disk = -1, .box_group = -1};
    if (getpid() != 1) {
        fputs("cubby-init is PID 1 of a box; it does nothing elsewhere\n", stderr);
        return 1;
    }
    for (size_t n = 0; n < ARRAY_LEN(phases); n++) {
        struct err e = {0};
        uint64_t start_ns = now_ns();
        if (phases[n].run(&init, &e) < 0)
            boot_failed(&init, phases[n].name, &e);
        log_debug(LOG_INIT, "phase '%s': %llu us", phases[n].name,
                  (unsigned long long)(now_ns() - start_ns) / 1000);
    }
    int ret = agent_run(init.agent);
    if (ret < 0) {
        log_err(LOG_INIT, "the event loop failed: %s", strerror(-ret));
        init.agent->why = BYE_FAILED;
    }
    stop(&init);
}
