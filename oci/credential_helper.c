/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: `docker-credential-<name> get` reads a server's name from its standard input and
 * writes
 * {"ServerURL", "Username", "Secret"} to its standard output; it exits with 1 and a sentence on standard
 * output when it has nothing or fails. The name is put into the pipe before the helper is started: it fits,
 * so nothing blocks, and the pipe still has its reader, so nothing raises SIGPIPE. We then read until the
 * output ends, and wait for the helper's end by its pidfd, both until the deadline.
 */
#include "base/io.h"
#include "base/own.h"
#include "oci/credentials.h"
#include "oci/json.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#define SERVER_MAX 2048 /* fits into any pipe */

struct helper {
    const char *name;
    pid_t pid;
    int pidfd, out; /* `out`: the read end of its standard output */
    int cancel_fd;
    uint64_t deadline_ns;
    size_t len;
    char output[CREDENTIAL_HELPER_OUTPUT + 1];
};

/* Kills it if it still runs, and reaps it. */
static void helper_fini(struct helper *h)
{
    if (h->pid > 0) {
        kill(h->pid, SIGKILL); /* not reaped yet, so the number is still its own */
        while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    fd_closep(&h->pidfd);
    fd_closep(&h->out);
    explicit_bzero(h->output, sizeof(h->output));
}

static int start(struct helper *h, int in, int out)
{
    char program[256];
    char *argv[] = {program, "get", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t all, none;
    snprintf(program, sizeof(program), "docker-credential-%s", h->name);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    sigemptyset(&none);
    int ret = posix_spawn_file_actions_init(&actions);
    if (ret)
        return -ret;
    ret = posix_spawnattr_init(&attr);
    if (ret == 0) {
        posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
        posix_spawnattr_setsigdefault(&attr, &all);
        posix_spawnattr_setsigmask(&attr, &none);
        if ((ret = posix_spawn_file_actions_adddup2(&actions, in, 0)) == 0 &&
            (ret = posix_spawn_file_actions_adddup2(&actions, out, 1)) == 0 &&
            (ret = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) == 0 &&
            (ret = posix_spawn_file_actions_addclosefrom_np(&actions, 3)) == 0)
            ret = posix_spawnp(&h->pid, program, &actions, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&actions);
    if (ret)
        h->pid = 0;
    else if ((h->pidfd = pidfd_open(h->pid, 0)) < 0)
        ret = errno;
    return -ret;
}

/* A pipe whose ends are above the three that a child gets: dup2() onto itself would keep close-on-exec. */
static int make_pipe(int fds[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        fds[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
        close(low[i]);
    }
    return fds[0] < 0 || fds[1] < 0 ? -EMFILE : 0;
}

static int run(struct helper *h, const char *server)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    int ret = make_pipe(in);
    if (ret == 0)
        ret = make_pipe(out);
    if (ret == 0)
        ret = write_full(in[1], server, strlen(server));
    if (ret == 0) {
        fd_closep(&in[1]);
        ret = start(h, in[0], out[1]);
        h->out = STEAL_FD(out[0]);
    }
    fd_closep(&in[0]);
    fd_closep(&in[1]);
    fd_closep(&out[0]);
    fd_closep(&out[1]);
    return ret;
}

/* Waits until `fd` is readable. 0, -ETIMEDOUT or -ECANCELED. */
static int wait_for(const struct helper *h, int fd)
{
    for (;;) {
        uint64_t now = now_ns();
        if (now >= h->deadline_ns)
            return -ETIMEDOUT;
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = h->cancel_fd, .events = POLLIN}};
        int n = poll(p, 2, (int)((h->deadline_ns - now) / NSEC_PER_MSEC) + 1);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && p[1].revents)
            return -ECANCELED;
        if (n > 0 && p[0].revents)
            return 0;
    }
}

static int read_output(struct helper *h)
{
    for (;;) {
        int ret = wait_for(h, h->out);
        if (ret < 0)
            return ret;
        ssize_t n = read(h->out, h->output + h->len, CREDENTIAL_HELPER_OUTPUT - h->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        h->len += (size_t)n;
        if (h->len == CREDENTIAL_HELPER_OUTPUT)
            return -EFBIG;
    }
}

/* Reads what it writes and waits for its end; *code is its exit code, or -1. */
static int collect(struct helper *h, int *code)
{
    int status = 0;
    int ret = read_output(h);
    if (ret == 0)
        ret = wait_for(h, h->pidfd);
    if (ret < 0)
        return ret;
    while (waitpid(h->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    h->pid = 0;
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return 0;
}

/* The answer's two strings. */
static int understand(struct helper *h, struct credential *out, struct err *e)
{
    CLEANUP(json_decrefpp) json_t *root = NULL;
    int ret =
        json_parse(&root, h->output, h->len, CREDENTIAL_HELPER_OUTPUT, "the answer's size", "its answer", e);
    if (ret < 0)
        return ret;
    const char *user = json_string_value(json_object_get(root, "Username"));
    const char *secret = json_string_value(json_object_get(root, "Secret"));
    if (!user || !secret)
        return err_set(e, OCI_E_FORMAT, "its answer has no Username or no Secret");
    if (!*user && !*secret)
        return -ENOENT;
    out->identity_token = strcmp(user, "<token>") == 0;
    out->user = out->identity_token ? NULL : strdup(user);
    out->secret = strdup(secret);
    if (!out->secret || (!out->user && !out->identity_token)) {
        credential_fini(out);
        return err_set(e, -ENOMEM, "no memory");
    }
    return 0;
}

static int ask(struct helper *h, const char *server, struct credential *out, struct err *e)
{
    int code = 0;
    int ret = run(h, server);
    if (ret == 0)
        ret = collect(h, &code);
    if (ret == -EFBIG)
        return err_set(e, OCI_E_LIMIT, "it writes more than %d bytes", CREDENTIAL_HELPER_OUTPUT);
    if (ret == -ETIMEDOUT)
        return err_set(e, ret, "it does not end in time");
    /* Which is a failure to be told, not the lack of an entry. */
    if (ret == -ENOENT)
        return err_set(e, OCI_E_UNAUTHORIZED, "it is not installed");
    if (ret < 0)
        return err_set(e, ret, "%s", strerror(-ret));
    if (code == 0)
        return understand(h, out, e);
    if (strstr(h->output, "credentials not found"))
        return -ENOENT;
    return err_set(e, OCI_E_UNAUTHORIZED, "it fails with code %d: %.*s", code,
                   (int)strcspn(h->output, "\r\n"), h->output);
}

int credential_helper_get(const char *name, const char *server, int timeout_ms, int cancel_fd,
                          struct credential *out, struct err *e)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(name);
    *out = (struct credential){0};
    if (len == 0 || len > 200 || strspn(name, allowed) != len)
        return err_set(e, OCI_E_FORMAT,
                       "Docker's configuration: '%.200s' is not the name of a credential helper", name);
    if (strlen(server) > SERVER_MAX)
        return err_set(e, OCI_E_LIMIT, "a registry's name is too long for a credential helper");
    CLEANUP(mem_freep) struct helper *h = calloc(1, sizeof(*h));
    if (!h)
        return err_set(e, -ENOMEM, "cannot run a credential helper: no memory");
    *h = (struct helper){.name = name, .pidfd = -1, .out = -1, .cancel_fd = cancel_fd};
    h->deadline_ns = now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
    int ret = ask(h, server, out, e);
    helper_fini(h);
    if (ret < 0 && ret != -ENOENT)
        err_prefix(e, "credential helper 'docker-credential-%s'", name);
    return ret;
}
