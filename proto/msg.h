/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All messages but EXEC (proto/exec.h) and those about detached executions (proto/detached.h): fixed
 * little-endian fields, some with a text behind them (docs/protocol.md sections 4 to 6).
 *
 * Each has an encoder, which writes a whole frame into `buf` and returns its length (0 when it does not fit
 * or a field is out of its range; MSG_FRAME_MAX always fits), and a decoder, which takes a frame of that type
 * and returns 0 or -EPROTO; then *m is not to be used. Decoders check every range, so that what they return
 * can be trusted as far as the types in this header say.
 */
#ifndef CUBBY_PROTO_MSG_H
#define CUBBY_PROTO_MSG_H

#include "proto/frame.h"

#define MSG_FRAME_MAX (FRAME_HEADER + 128 + MSG_TEXT_MAX) /* the longest frame of this header */

enum stream {
    STREAM_STDIN,
    STREAM_STDOUT,
    STREAM_STDERR,
    STREAMS,
};

/* Credit that a side may hold on one stream at any time; more is a violation. */
#define STREAM_WINDOW_MAX (64u << 20)
/* Credit for stdin that a host has from the start, without a WINDOW frame. */
#define STDIN_WINDOW 65536u

/* --- HELLO --- */
struct msg_hello {
    uint16_t version_min, version_max; /* 1 ≤ min ≤ max; the guest's answer has min == max: the choice */
};
size_t msg_hello_encode(const struct msg_hello *m, void *buf, size_t cap);
int msg_hello_decode(const struct frame *f, struct msg_hello *m);
/* The highest version that both speak, or 0 when there is none. */
uint16_t msg_hello_choose(const struct msg_hello *peer);

/* --- ERROR --- */
enum error_stage {
    STAGE_PROTOCOL = 1, /* the host broke the protocol */
    STAGE_VERSION,      /* no common version */
    STAGE_UNSUPPORTED,  /* a valid wish that this agent does not fulfil */
    STAGE_STATE,        /* the guest is shutting down */
    STAGE_RESOURCE,     /* no memory, descriptors, processes or connections left */
    STAGE_CGROUP,       /* the execution's control group or its limits */
    STAGE_TTY,          /* the pseudo-terminal */
    STAGE_RLIMIT,       /* a resource limit */
    STAGE_USER,         /* user or group: unknown, or not permitted */
    STAGE_CWD,          /* the working directory */
    STAGE_LOOKUP,       /* the command was not found (ENOENT) or nothing found may be executed (EACCES) */
    STAGE_EXECVE,       /* the command was found and the kernel refused to run it */
    STAGE_NOT_FOUND,    /* no execution of that id */
    STAGE_FILE,         /* file transfer */
    STAGE_END
};
struct msg_error {
    uint16_t stage;  /* enum error_stage; a decoder accepts any value from 1 to 255, for later stages */
    uint32_t errnum; /* Linux errno of the guest, 0 when none applies */
    char text[MSG_TEXT_MAX + 1]; /* one line for people; control characters arrive as '?' */
};
const char *error_stage_name(uint16_t stage);
size_t msg_error_encode(const struct msg_error *m, void *buf, size_t cap);
int msg_error_decode(const struct frame *f, struct msg_error *m);

/* --- STARTED --- */
struct msg_started {
    uint64_t exec_id; /* ≥ 1, unique in this boot */
    uint32_t pid;     /* in the guest */
};
size_t msg_started_encode(const struct msg_started *m, void *buf, size_t cap);
int msg_started_decode(const struct frame *f, struct msg_started *m);

/* --- EXITED --- */
enum exit_how {
    HOW_EXITED = 1, /* by itself: `code` is its exit code */
    HOW_SIGNALED,   /* by signal `signo` */
    HOW_TIMED_OUT,  /* its time was up; code or signo say how it went then */
    HOW_OOM_KILLED, /* by SIGKILL of the kernel, which ran out of (the execution's) memory */
};
enum exit_flags {
    EXIT_CORE_DUMPED = 1 << 0,   /* of the leader, as wait(2) reports it */
    EXIT_KILLED = 1 << 1,        /* a KILL frame, or a client that left, ended it */
    EXIT_GRACE_EXPIRED = 1 << 2, /* timed out, and SIGTERM was not enough */
    EXIT_OUTPUT_CUT = 1 << 3,    /* left-over processes hold stdout or stderr; what they write is not sent */
    EXIT_LEFTOVER = 1 << 4,      /* processes of the tree go on after their leader */
    EXIT_OOM = 1 << 5,           /* the OOM killer took some process of the tree */
    EXIT_PIDS_LIMIT = 1 << 6,    /* a fork was refused by the execution's own limit of processes */
    EXIT_MEMORY_LIMIT = 1 << 7,  /* with EXIT_OOM: the tree was at the execution's own limit of memory */
    EXIT_FLAGS_ALL = (1 << 8) - 1,
};
struct msg_exited {
    uint8_t how;       /* enum exit_how */
    uint8_t code;      /* exit code of the leader; 0 when a signal ended it */
    uint8_t signo;     /* signal that ended the leader, 0 when it exited */
    uint32_t flags;    /* enum exit_flags */
    uint64_t wall_ns;  /* from STARTED to the end of the leader */
    uint64_t utime_us; /* of the leader and the children that it waited for */
    uint64_t stime_us; /* likewise */
    uint64_t max_rss;  /* bytes; the largest of these processes */
    uint64_t mem_peak; /* bytes; the most that the whole tree used at once; 0 when not known */
};
size_t msg_exited_encode(const struct msg_exited *m, void *buf, size_t cap);
int msg_exited_decode(const struct frame *f, struct msg_exited *m);

/* --- STREAM_EOF, WINDOW --- */
struct msg_window {
    uint8_t stream;  /* enum stream */
    uint32_t credit; /* WINDOW: 1 to STREAM_WINDOW_MAX further bytes; STREAM_EOF: unused */
};
size_t msg_window_encode(const struct msg_window *m, void *buf, size_t cap);
int msg_window_decode(const struct frame *f, struct msg_window *m);
size_t msg_stream_eof_encode(enum stream stream, void *buf, size_t cap);
int msg_stream_eof_decode(const struct frame *f, enum stream *stream);

/* --- SIGNAL, KILL, RESIZE --- */
enum signal_scope {
    SCOPE_LEADER,
    SCOPE_TREE,
};
struct msg_signal {
    uint8_t signo; /* 1 to 64 */
    uint8_t scope; /* enum signal_scope */
};
size_t msg_signal_encode(const struct msg_signal *m, void *buf, size_t cap);
int msg_signal_decode(const struct frame *f, struct msg_signal *m);
size_t msg_kill_encode(void *buf, size_t cap);

struct msg_resize {
    uint16_t rows, cols; /* 1 to 65535 */
};
size_t msg_resize_encode(const struct msg_resize *m, void *buf, size_t cap);
int msg_resize_decode(const struct frame *f, struct msg_resize *m);

/* --- the control connection --- */
#define READY_RELEASE_MAX 64u
struct msg_ready {
    uint16_t version_min, version_max;
    uint32_t cpus;                       /* online in the guest */
    uint64_t memory_bytes;               /* that executions may use together */
    uint64_t init_ns, root_ns, agent_ns; /* guest's CLOCK_BOOTTIME at these marks */
    char release[READY_RELEASE_MAX + 1]; /* of the kernel, as uname(2) says */
};
size_t msg_ready_encode(const struct msg_ready *m, void *buf, size_t cap);
int msg_ready_decode(const struct frame *f, struct msg_ready *m);

#define SHUTDOWN_GRACE_MAX_MS 600000u
struct msg_shutdown {
    uint32_t grace_ms; /* between SIGTERM and SIGKILL; at most SHUTDOWN_GRACE_MAX_MS */
};
size_t msg_shutdown_encode(const struct msg_shutdown *m, void *buf, size_t cap);
int msg_shutdown_decode(const struct frame *f, struct msg_shutdown *m);

/* PING and PONG: `type` says which. The cookie comes back as it was sent. */
size_t msg_ping_encode(enum frame_type type, uint64_t cookie, void *buf, size_t cap);
int msg_ping_decode(const struct frame *f, uint64_t *cookie);

enum bye_reason {
    BYE_SHUTDOWN = 1, /* asked by SHUTDOWN */
    BYE_POWEROFF,     /* asked from inside: poweroff, halt, SIGUSR1 or SIGUSR2 to PID 1 */
    BYE_REBOOT,       /* asked from inside: reboot, SIGTERM or SIGINT to PID 1 */
    BYE_FAILED,       /* PID 1 cannot go on */
};
struct msg_bye {
    uint8_t reason; /* enum bye_reason */
    char text[MSG_TEXT_MAX + 1];
};
size_t msg_bye_encode(const struct msg_bye *m, void *buf, size_t cap);
int msg_bye_decode(const struct frame *f, struct msg_bye *m);

enum event_kind {
    EVENT_OOM = 1, /* the kernel killed for want of memory; value: processes killed since boot */
};
struct msg_event {
    uint16_t kind; /* enum event_kind; a decoder accepts others from 1 on, to be ignored */
    uint64_t value;
    char text[MSG_TEXT_MAX + 1];
};
size_t msg_event_encode(const struct msg_event *m, void *buf, size_t cap);
int msg_event_decode(const struct frame *f, struct msg_event *m);

#endif
