/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EXEC: what to run and how. The payload is a list of fields, each u16 tag, u32 length, bytes
 * (docs/protocol.md section 5.1). Strings are sent with their NUL, so that a decoder hands out pointers into
 * the payload. Fields may come in any order; ARG, ENV and RLIMIT repeat, and the order of each is kept.
 */
#ifndef CUBBY_PROTO_EXEC_H
#define CUBBY_PROTO_EXEC_H

#include "base/err.h"
#include "proto/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXEC_ARGS_MAX    65536u
#define EXEC_ENVS_MAX    16384u
#define EXEC_STRING_MAX  131071u /* bytes of an argument or variable; Linux's MAX_ARG_STRLEN less the NUL */
#define EXEC_CWD_MAX     4095u
#define EXEC_USER_MAX    255u
#define EXEC_RLIMITS_MAX 16u /* Linux's RLIM_NLIMITS: each resource at most once */

#define EXEC_TIMEOUT_MAX_MS   UINT64_C(1000000000000) /* some 31 years: nanoseconds still fit 64 bits */
#define EXEC_GRACE_MAX_MS     600000u
#define EXEC_GRACE_DEFAULT_MS 2000u
#define EXEC_CPU_MAX_MILLIS   1024000u /* 1024 processors */
#define EXEC_BACKLOG_MAX      (1u << 20)
#define EXEC_SIGNAL_MAX       64u

#define EXEC_RLIM_INFINITY UINT64_MAX

enum exec_flags {
    EXEC_STDIN = 1 << 0,    /* stdin is sent by the host; else it is /dev/null */
    EXEC_STDOUT = 1 << 1,   /* stdout is sent to the host; else it goes to /dev/null */
    EXEC_STDERR = 1 << 2,   /* likewise; not together with a terminal, where it is part of stdout */
    EXEC_DETACHED = 1 << 3, /* outlives its connection; the end of its output is kept (`backlog`) */
    EXEC_MAKE_CWD = 1 << 4, /* the working directory is made when it is missing */
    EXEC_FLAGS_ALL = (1 << 5) - 1,
};

enum exec_tag {
    EXEC_TAG_ARG = 1,     /* string, ≥ 1 of them */
    EXEC_TAG_ENV,         /* string "NAME=value", NAME not empty */
    EXEC_TAG_CWD,         /* string, absolute */
    EXEC_TAG_USER,        /* string "name|uid[:group|gid]" */
    EXEC_TAG_TTY,         /* u16 rows, u16 cols */
    EXEC_TAG_TIMEOUT_MS,  /* u64 */
    EXEC_TAG_GRACE_MS,    /* u32 */
    EXEC_TAG_RLIMIT,      /* u32 resource, u64 soft, u64 hard */
    EXEC_TAG_LIMITS,      /* u64 memory bytes, u32 processes, u32 CPU in thousandths; 0 is no limit */
    EXEC_TAG_FLAGS,       /* u32 enum exec_flags */
    EXEC_TAG_WINDOWS,     /* u32 stdout, u32 stderr: initial credit in bytes */
    EXEC_TAG_BACKLOG,     /* u32 bytes of output kept, DETACHED only */
    EXEC_TAG_STOP_SIGNAL, /* u8, 1 to EXEC_SIGNAL_MAX */
};

struct exec_rlimit {
    uint32_t resource;   /* RLIMIT_*, below EXEC_RLIMITS_MAX */
    uint64_t soft, hard; /* soft ≤ hard; EXEC_RLIM_INFINITY for none */
};

/* Zeroes mean "not asked for" in every field. Borrowed pointers, but for what exec_request_fini() frees. */
struct exec_request {
    const char *const *argv; /* NULL-terminated, at least one */
    const char *const *envp; /* NULL-terminated; NULL (encoder only) is an empty one */
    const char *cwd;         /* NULL: "/" */
    const char *user;        /* NULL: root, without a look-up */
    bool tty;
    uint16_t rows, cols; /* ≥ 1 with tty */
    uint64_t timeout_ms; /* 0: none */
    uint32_t grace_ms;   /* between stop signal and SIGKILL; the decoder fills in the default */
    uint8_t stop_signal; /* sent when it is to end; the encoder's 0 is SIGTERM, as the decoder fills in */
    uint64_t memory_max; /* bytes */
    uint32_t pids_max, cpu_millis;
    uint32_t flags;                  /* enum exec_flags */
    uint32_t window_out, window_err; /* initial credit, at most STREAM_WINDOW_MAX */
    uint32_t backlog;
    uint32_t rlimit_count;
    struct exec_rlimit rlimit[EXEC_RLIMITS_MAX];
    void *owned; /* the decoder's one block of pointers */
};

/*
 * Decodes an EXEC payload. The strings point into `payload`, which must outlive *q. 0; -EPROTO for what is
 * malformed, -E2BIG for what is beyond a bound, -ENOMEM; *e says which field. On failure nothing is owned.
 */
int exec_request_decode(struct exec_request *q, const void *payload, size_t len, struct err *e);
void exec_request_fini(struct exec_request *q);

/* Bytes of the whole frame for `q`, header included; may exceed what is allowed. */
size_t exec_request_size(const struct exec_request *q);
/*
 * Writes the whole frame of exec_request_size() bytes into `buf`. Checks what the decoder would: 0; -EINVAL
 * for a field out of its range, -E2BIG for one beyond a bound or a request beyond EXEC_PAYLOAD_MAX in all,
 * -ENOSPC when cap is too small; *e says which field.
 */
int exec_request_encode(const struct exec_request *q, void *buf, size_t cap, struct err *e);

#endif
