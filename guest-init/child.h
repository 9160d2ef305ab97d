/* SPDX-License-Identifier: Apache-2.0 */
/* What a new process does between fork and execve: becomes what the request asks for, or reports why not. */
#ifndef CUBBY_GUEST_INIT_CHILD_H
#define CUBBY_GUEST_INIT_CHILD_H

#include "guest-init/tree.h"
#include "proto/exec.h"
#include "proto/msg.h"

/* Limits that every workload starts with, unless it asks for others. docs/init-contract.md */
#define CHILD_NOFILE_SOFT 65536u
#define CHILD_NOFILE_HARD 1048576u

/* Descriptors are close-on-exec and above 2; -1 stands for /dev/null. */
struct child_plan {
    const struct exec_request *request;
    const struct tree *tree;
    int stdio[STREAMS];
    int tty;              /* the terminal's slave side, then also in stdio; -1 without */
    int report;           /* pipe for the child_report; its end of file means success */
    bool reset_oom_score; /* the parent has one that must not be inherited */
};

/* Written in one piece (it is smaller than PIPE_BUF) when something fails. */
struct child_report {
    uint32_t stage; /* enum error_stage */
    int32_t errnum; /* positive errno */
    char text[ERR_TEXT_MAX];
};

_Noreturn void child_run(const struct child_plan *plan);

#endif
