/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM without a VM: started under the name cubby-vmm, this program runs the real agent (guest-init/) as a
 * child process and connects it with the host's sockets as virtio-vsock would. So library and agent are
 * tested against each other without KVM. The agent is an ordinary process here: no root file system, no
 * control groups.
 */
#ifndef CUBBY_TESTS_RUNTIME_AGENT_VMM_H
#define CUBBY_TESTS_RUNTIME_AGENT_VMM_H

#include "guest-init/agent.h"
#include "tests/runtime/fake_vmm.h"

#include <sys/prctl.h>
#include <sys/wait.h>

static inline _Noreturn void agent_vmm_guest(const char *vsock)
{
    char path[128];
    struct err e;
    struct agent *a;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof(path), "%s.agent", vsock);
    struct agent_config c = {.listen_fd = unix_listen(path, 512, &e), .box_group = -1};
    c.ready = (struct msg_ready){.version_min = 1, .version_max = 1, .cpus = 1, .release = "agent"};
    if (agent_create(&a, &c, &e) < 0)
        _exit(1);
    snprintf(path, sizeof(path), "%s_1024", vsock);
    agent_connect_control(a, unix_connect(path, &e));
    int ret = agent_run(a);
    agent_say_bye(a, "bye", 1000);
    agent_destroy(a);
    exit(ret < 0); /* not _exit(): LeakSanitizer looks at the end */
}

/* Whatever comes from one side goes to the other, half closes too. */
static inline void agent_vmm_splice(int a, int b)
{
    struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        poll(p, 2, -1);
        for (int i = 0; i < 2; i++) {
            char bytes[65536];
            int to = i == 0 ? b : a;
            if (p[i].fd < 0 || !p[i].revents)
                continue;
            ssize_t n = recv(p[i].fd, bytes, sizeof(bytes), 0);
            for (ssize_t done = 0, m; done < n; done += m) {
                m = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
                if (m <= 0)
                    return;
            }
            if (n <= 0) {
                shutdown(to, SHUT_WR);
                p[i].fd = -1;
            }
        }
    }
}

struct agent_vmm_call {
    int fd;
    char agent[128];
};

static void *agent_vmm_connection(void *arg)
{
    CLEANUP(mem_freep) struct agent_vmm_call *call = arg;
    CLEANUP(fd_closep) int fd = call->fd, agent = unix_connect(call->agent, NULL);
    char line[32] = "";
    for (size_t n = 0; n < sizeof(line) - 1 && !strchr(line, '\n'); n++)
        if (recv(fd, line + n, 1, 0) != 1)
            return NULL;
    if (agent < 0 || strcmp(line, "CONNECT 1025\n") != 0 || send(fd, "OK 1\n", 5, MSG_NOSIGNAL) != 5)
        return NULL;
    fd_set_nonblock(agent, 0);
    agent_vmm_splice(fd, agent);
    return NULL;
}

static inline int agent_vmm_main(char **argv)
{
    const char *vsock = "";
    sigset_t set;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC);
    for (char **a = argv; *a; a++)
        if (strcmp(*a, "--vsock") == 0 && a[1])
            vsock = a[1];
    int listener = unix_listen(vsock, 64, NULL);
    fake_event("{\"event\":\"running\",\"t_ns\":6}");
    if (fork() == 0) {
        close(listener);
        close(3); /* the events are the VM's */
        agent_vmm_guest(vsock);
    }
    struct pollfd p[] = {
        {.fd = listener, .events = POLLIN}, {.fd = signals, .events = POLLIN}, {.fd = 4, .events = POLLIN}};
    while (poll(p, 3, -1) > 0 && !p[1].revents && !p[2].revents) {
        struct agent_vmm_call *call = calloc(1, sizeof(*call));
        pthread_t thread;
        call->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        snprintf(call->agent, sizeof(call->agent), "%s.agent", vsock);
        fd_set_nonblock(call->fd, 0);
        pthread_create(&thread, NULL, agent_vmm_connection, call);
        pthread_detach(thread);
    }
    int status = 0;
    bool off = waitpid(-1, &status, WNOHANG) > 0 && status == 0;
    fake_event(off ? "{\"event\":\"ended\",\"reason\":\"poweroff\",\"detail\":\"\",\"console_tail\":\"\"}"
                   : "{\"event\":\"ended\",\"reason\":\"stopped\",\"detail\":\"\",\"console_tail\":\"\"}");
    return status;
}

#endif
