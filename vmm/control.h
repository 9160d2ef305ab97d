/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may end the VM from outside: SIGTERM, SIGINT, SIGHUP, and the owner behind --die-with. Watched by a
 * thread of its own, so that it works whatever the other threads are busy with.
 */
#ifndef CUBBY_VMM_CONTROL_H
#define CUBBY_VMM_CONTROL_H

#include "base/err.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
struct tty;

/* The thread reads it; the functions belong to the main thread. */
struct control {
    pthread_mutex_t lock;           /* over `vm` */
    struct vm *vm;                  /* NULL: it is being taken apart */
    const struct vm_config *config; /* its vsock socket is removed, */
    const struct tty *tty;          /* and the terminal restored, when the process is left at once */
    int signal_fd, quit_fd;
    int owner_fd;      /* not owned; -1: none */
    bool stopping;     /* the thread's: it has asked the VM to end */
    uint64_t asked_ns; /* when; the thread's */
    bool started;
    pthread_t thread;
};

/* Blocks the signals in this thread and in those that it starts, and ignores SIGPIPE. First thing in main().
 */
void control_block_signals(void);

/*
 * Starts watching. The first signal ends the VM (END_STOPPED), as does the end of file or an error on
 * `owner_fd` (END_OWNER_GONE). A second signal (300 ms later or more, because timeout(1)
 * delivers one wish twice), or five seconds after the first cause, leaves the process at
 * once, with exit code 130: the terminal is restored and the vsock socket removed, nothing else is waited
 * for.
 */
int control_start(struct control *c, struct vm *vm, const struct tty *tty, int owner_fd, struct err *e);
/* The VM is about to be destroyed. */
void control_forget_vm(struct control *c);
/* Ends the thread. Safe when it was not started. */
void control_stop(struct control *c);

#endif
