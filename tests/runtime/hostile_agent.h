/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that was taken over by its workload, behind a VM without a VM: it answers copies as $FAKE_AGENT
 * says, in bytes that the real one would never send.
 */
#ifndef CUBBY_TESTS_RUNTIME_HOSTILE_AGENT_H
#define CUBBY_TESTS_RUNTIME_HOSTILE_AGENT_H

#include "proto/files.h"
#include "tests/runtime/fake_vmm.h"

#include <sys/prctl.h>

static inline void say(int fd, const void *bytes, size_t len)
{
    ssize_t ignored = send(fd, bytes, len, MSG_NOSIGNAL);
    (void)ignored; /* the client may have left; the next recv() tells */
}

static inline void say_entry(int fd, enum ftree_type type, const char *path, const char *target,
                             uint64_t size)
{
    static uint8_t frame[FILES_FRAME_MAX];
    static struct ftree_entry en;
    en = (struct ftree_entry){.type = (uint8_t)type, .mode = 0755, .size = size};
    /* The encoder refuses what leads out: such paths are put in afterwards, at the same length. */
    memset(en.path, 'x', strlen(path));
    memset(en.target, 'x', strlen(target));
    size_t len = msg_entry_encode(&en, frame, sizeof(frame));
    memcpy(frame + FRAME_HEADER + ENTRY_FIXED, path, strlen(path));
    memcpy(frame + FRAME_HEADER + ENTRY_FIXED + strlen(path), target, strlen(target));
    say(fd, frame, len);
}

static inline void say_data(int fd, uint64_t offset, size_t len)
{
    static uint8_t frame[FILES_FRAME_MAX];
    static const uint8_t bytes[FTREE_CHUNK];
    const struct msg_data m = {.offset = offset, .bytes = bytes, .len = len};
    say(fd, frame, msg_data_encode(&m, frame, sizeof(frame)));
}

static inline void say_end(int fd, enum frame_type type, uint64_t entries)
{
    uint8_t frame[64];
    const struct ftree_totals m = {.entries = entries};
    say(fd, frame, msg_totals_encode(type, &m, frame, sizeof(frame)));
}

/* An agent taken over by its workload answers a GET (or a PUT) as it likes. */
static inline void hostile(int fd, const char *mode)
{
    static char sink[65536];
    if (strcmp(mode, "dotdot") == 0) {
        say_entry(fd, FTREE_DIR, "", "", 0);
        say_entry(fd, FTREE_FILE, "../escaped", "", 0);
    } else if (strcmp(mode, "absolute") == 0) {
        say_entry(fd, FTREE_DIR, "", "", 0);
        say_entry(fd, FTREE_FILE, "/tmp/escaped", "", 0);
    } else if (strcmp(mode, "through-link") == 0) {
        say_entry(fd, FTREE_DIR, "", "", 0);
        say_entry(fd, FTREE_SYMLINK, "s", "..", 0);
        say_entry(fd, FTREE_FILE, "s/escaped", "", 0);
    } else if (strcmp(mode, "hard-link") == 0) {
        say_entry(fd, FTREE_DIR, "", "", 0);
        say_entry(fd, FTREE_LINK, "mine", "yours", 0);
    } else if (strcmp(mode, "root-link") == 0) { /* a link for a folder; then, what it would lead away */
        static int answers;
        say_entry(fd, answers ? FTREE_DIR : FTREE_SYMLINK, "", answers ? "" : "../there", 0);
        if (answers++) {
            say_entry(fd, FTREE_FILE, "escaped", "", 0);
            say_entry(fd, FTREE_LEAVE, "", "", 0);
        }
        say_end(fd, FRAME_END, answers == 1 ? 1 : 2);
    } else if (strcmp(mode, "too-much") == 0) {
        say_entry(fd, FTREE_FILE, "", "", 10);
        say_data(fd, 0, 11);
    } else if (strcmp(mode, "wrong-end") == 0) {
        say_entry(fd, FTREE_FILE, "", "", 0);
        say_end(fd, FRAME_END, 2);
    } else if (strcmp(mode, "early-done") == 0) {
        say_end(fd, FRAME_DONE, 1);
    } else if (strcmp(mode, "garbage") == 0) {
        say(fd, "not a frame at all", 18);
    } else if (strcmp(mode, "device") == 0) {
        say_entry(fd, FTREE_DIR, "", "", 0);
        say_entry(fd, FTREE_CHAR, "null", "", 0);
        say_entry(fd, FTREE_LEAVE, "", "", 0);
        say_end(fd, FRAME_END, 2);
    } else if (strcmp(mode, "closes") == 0) {
        say_entry(fd, FTREE_FILE, "", "", 10);
        say_data(fd, 0, 5);
        close(fd);
        return;
    } else if (strcmp(mode, "silent") == 0) {
        pause();
    }
    while (recv(fd, sink, sizeof(sink), 0) > 0) {}
    close(fd);
}

/* One connection after the other. */
static inline int hostile_vmm_main(char **argv)
{
    const char *vsock = "";
    const struct msg_hello hello = {1, 1};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (char **a = argv; *a; a++)
        if (strcmp(*a, "--vsock") == 0 && a[1])
            vsock = a[1];
    int listener = unix_listen(vsock, 64, NULL);
    fd_set_nonblock(listener, 0);
    fake_event("{\"event\":\"running\",\"t_ns\":6}");
    fake_ready(vsock, "ok");
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        char line[32] = "";
        uint8_t frame[32];
        for (size_t n = 0; n < sizeof(line) - 1 && !strchr(line, '\n'); n++)
            if (recv(fd, line + n, 1, 0) != 1)
                break;
        say(fd, "OK 1073741824\n", 14);
        say(fd, frame, msg_hello_encode(&hello, frame, sizeof(frame)));
        hostile(fd, getenv("FAKE_AGENT"));
    }
    return 1;
}

#endif
