/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcubby: run commands in throw-away virtual machines.
 *
 *     struct cubby_box *box;
 *     struct cubby_exec *x;
 *     struct cubby_error e;
 *     struct cubby_result result = {.size = sizeof(result)};
 *     const char *argv[] = {"uname", "-a", NULL};
 *     struct cubby_exec_options what = {.size = sizeof(what), .argv = argv};
 *     if (cubby_box_create(&box, NULL, &e) == 0 && cubby_box_start(box, &e) == 0 &&
 *         cubby_exec_start(&x, box, &what, &e) == 0 && cubby_exec_wait(x, CUBBY_FOREVER, &result, &e) == 0)
 *         … result.exit_code …
 *
 * What every call holds to:
 *
 *  - It returns 0 or a count on success and one of the negative CUBBY_E… codes on failure; the last parameter
 *    (may be NULL) then says in one sentence what failed, on which object, why, and what to try.
 *  - The library never exits, never prints, never changes signal handlers or the signal mask of the caller,
 *    raises no SIGPIPE, leaves no zombie, and has no global state. Its descriptors are close-on-exec. A box
 * is a child process: the caller sees SIGCHLD when it ends, and should wait for its own children by their
 * pids.
 *  - Option structs start with their size (`.size = sizeof(opt)`); fields that are zero or NULL mean the
 *    documented default. A later library accepts the shorter struct of an older header. What they point to is
 *    copied and need not outlive the call.
 *  - All calls on a box and its executions may be made from several threads at once, but for the two that
 *    free: cubby_box_destroy() and cubby_exec_free() must be the last call on their handle.
 *  - Times are milliseconds of the monotonic clock unless a name says otherwise; CUBBY_FOREVER never ends.
 *
 * Needs Linux 5.4 or newer.
 */
#ifndef CUBBY_H
#define CUBBY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CUBBY_API __attribute__((visibility("default")))

/* "0.1.0": the version of the library that runs, in static memory. */
CUBBY_API const char *cubby_version(void);

/* ---- errors ---------------------------------------------------------------------------------------------*/

enum cubby_code {
    CUBBY_OK = 0,
    CUBBY_EARGUMENT = -1,        /* an argument of the call is wrong: out of range, NULL, too long */
    CUBBY_ECONFIG = -2,          /* this host lacks a file, a folder or a setting that cubby needs */
    CUBBY_EIMAGE_NOT_FOUND = -3, /* the image or root file system is not there */
    CUBBY_EIMAGE = -4,           /* it is there, and cannot be used or fetched */
    CUBBY_ESTORAGE = -5,         /* disk full, quota, I/O error on this host */
    CUBBY_EKVM = -6,             /* no usable KVM; cubby_doctor() tells more */
    CUBBY_EBOOT = -7,            /* the VM ended or hung before it was ready; see cubby_box_console() */
    CUBBY_ESPAWN = -8,           /* the command could not be started: user, folder, limits… */
    CUBBY_ENOTFOUND_CMD = -9,    /* the command was not found in the box */
    CUBBY_ENOTEXEC_CMD = -10,    /* it was found, and cannot be executed: no x bit, a folder, wrong format */
    CUBBY_ETIMEOUT = -11,        /* the deadline of this call passed; nothing was changed */
    CUBBY_ESTOPPED = -12,        /* the box was stopped, by this program */
    CUBBY_EGUEST_LOST = -13,     /* the running VM ended, or its agent stopped answering */
    CUBBY_EPROTOCOL = -14,       /* the agent or the VMM sent what the protocol does not allow */
    CUBBY_ERESOURCE = -15,       /* out of memory, processes, descriptors or executions */
    CUBBY_EEXISTS = -16,         /* it is there already */
    CUBBY_ENOTFOUND = -17,       /* no such object */
    CUBBY_ESTATE = -18,          /* not possible in the present state */
    CUBBY_EAGAIN = -19,          /* nothing to read, or no room to write, right now */
    CUBBY_ECLOSED = -20,         /* the other end of this stream is closed */
    CUBBY_EUNSUPPORTED = -21,    /* this library, or the guest's agent, cannot do that */
    CUBBY_EINTERNAL = -22        /* a mistake of ours; please report it */
};

#define CUBBY_ERROR_TEXT 512

struct cubby_error {
    int code;                       /* an enum cubby_code */
    char message[CUBBY_ERROR_TEXT]; /* one line, printable, NUL-terminated; cut with "…" when too long */
};

/* "boot-failed", a stable short name for programs and logs; "unknown" for other numbers. Static memory. */
CUBBY_API const char *cubby_code_name(int code);

#define CUBBY_FOREVER (-1)

/* ---- can this host run boxes? ---------------------------------------------------------------------------*/

struct cubby_doctor_options {
    size_t size;
    const char *assets; /* folder with cubby-vmm, vmlinux, initrd.cpio; NULL: where boxes look, see there */
};

struct cubby_check {
    const char *name;   /* "device", "guest-iretq", "runtime-folder"…: stable */
    int ok;             /* 1 or 0 */
    int required;       /* 0: a hint; boxes run without it */
    const char *detail; /* what was found, in plain words */
    const char *remedy; /* what to try; "" when ok */
};

struct cubby_report;

/*
 * Examines this host: the files that cubby needs, its runtime folder, memory, /dev/kvm, each capability of
 * KVM, and small guests that do what kernels do. Takes about a second, at most some 30. Returns 0 with *out
 * set whatever the findings are; free it with cubby_report_free(). Errors: CUBBY_EARGUMENT, CUBBY_ERESOURCE.
 */
CUBBY_API int cubby_doctor(struct cubby_report **out, const struct cubby_doctor_options *options,
                           struct cubby_error *error);
/* 1 when every required check passed: a box can run. */
CUBBY_API int cubby_report_usable(const struct cubby_report *report);
CUBBY_API size_t cubby_report_count(const struct cubby_report *report);
/* Fills *check with number `index`; its strings live as long as the report. CUBBY_EARGUMENT beyond the last.
 */
CUBBY_API int cubby_report_check(const struct cubby_report *report, size_t index, struct cubby_check *check);
/* {"usable": bool, "checks": [{"name","ok","required","detail","remedy"}…]}, UTF-8; lives as long as the
 * report. */
CUBBY_API const char *cubby_report_json(const struct cubby_report *report);
CUBBY_API void cubby_report_free(struct cubby_report *report);

/* ---- boxes ----------------------------------------------------------------------------------------------*/

#define CUBBY_CPUS_MAX           64
#define CUBBY_MEMORY_MIB_MIN     32
#define CUBBY_MEMORY_MIB_MAX     (16 * 1024 * 1024)
#define CUBBY_MEMORY_MIB_DEFAULT 512
#define CUBBY_BOOT_TIMEOUT_MS    60000

struct cubby_box_options {
    size_t size;
    /* Folder with cubby-vmm, vmlinux, initrd.cpio and default.ext4; or several, with ':' between. NULL:
     * $CUBBY_ASSETS, else the folder of the running executable, then <prefix>/lib/cubby. */
    const char *assets;
    const char *kernel; /* a kernel instead of the assets' vmlinux */
    /* The root file system: an ext4 image (used read-only), or a folder (an image is made of it, in $TMPDIR
     * or /tmp, that lives as long as the box). NULL: the assets' default.ext4. What the box writes is kept in
     * its memory and forgotten with it. */
    const char *rootfs;
    unsigned cpus;            /* 1 … 64; 0: 1 */
    unsigned memory_mib;      /* 32 … 16 Mi, which is 16 TiB; 0: 512 */
    unsigned boot_timeout_ms; /* from start until the agent is ready; 0: 60000 */
    unsigned flags;           /* CUBBY_BOX_… */
    /* A descriptor, watched and not read: when it becomes readable, cubby_box_create() gives up the image
     * that it is making of a folder. 0 or negative: none. */
    int cancel_fd;
    int reserved; /* 0: the struct has no padding, whose bytes would be unknown to a newer library */
};

#define CUBBY_BOX_TIMELINE 0x1u /* record the boundaries of the box's life: see cubby_box_timeline() */
#define CUBBY_BOX_LOG                                                                                        \
    0x2u /* the VMM's own log lines go to this process's stderr, see CUBBY_LOG in cubby(1) */

enum cubby_state {
    CUBBY_CONFIGURED, /* created, not started */
    CUBBY_STARTING,   /* the VM boots */
    CUBBY_RUNNING,    /* the agent serves */
    CUBBY_STOPPING,
    CUBBY_STOPPED, /* as this program asked, or the guest powered itself off */
    CUBBY_FAILED   /* did not boot, crashed, or its VMM was killed */
};

struct cubby_box;

/*
 * Creates a box that lives as long as its handle: nothing of it is kept, and when this process dies in any
 * way, the VM ends and what is left in the runtime folder is removed by the next cubby_box_create(). Checks
 * all options, makes an image of a folder, and makes the box's folder $XDG_RUNTIME_DIR/cubby/<id> (or
 * /tmp/cubby-<uid>/<id>). Errors: CUBBY_EARGUMENT, CUBBY_ECONFIG, CUBBY_EIMAGE_NOT_FOUND, CUBBY_EIMAGE,
 * CUBBY_ESTORAGE, CUBBY_ESTOPPED (given up through cancel_fd), CUBBY_ERESOURCE.
 */
CUBBY_API int cubby_box_create(struct cubby_box **out, const struct cubby_box_options *options,
                               struct cubby_error *error);

/*
 * Starts the VM and returns at once; executions may be started now, they begin when the box is ready. Errors:
 * CUBBY_ESTATE when started before, CUBBY_ECONFIG, CUBBY_ERESOURCE.
 */
CUBBY_API int cubby_box_start(struct cubby_box *box, struct cubby_error *error);

/*
 * Waits until the box is ready or has failed to become so. 0 when it runs. Errors: CUBBY_ETIMEOUT,
 * CUBBY_EBOOT, CUBBY_EKVM, CUBBY_ESTOPPED, CUBBY_EGUEST_LOST, CUBBY_ESTATE when not started.
 */
CUBBY_API int cubby_box_wait_ready(struct cubby_box *box, int timeout_ms, struct cubby_error *error);

/* Waits until the VM has ended: 0. CUBBY_ETIMEOUT, CUBBY_ESTATE when not started. */
CUBBY_API int cubby_box_wait_ended(struct cubby_box *box, int timeout_ms, struct cubby_error *error);

/* A descriptor for poll(2) and epoll(7), readable when the box may have changed; then ask cubby_box_state().
 * Belongs to the box. Stays readable once the VM has ended. */
CUBBY_API int cubby_box_fd(struct cubby_box *box);

/* Takes note of what happened, without waiting, and returns an enum cubby_state. */
CUBBY_API int cubby_box_state(struct cubby_box *box);

/*
 * Why the box is not running: 0 and *error untouched while it is configured, starting or running; else
 * CUBBY_ESTOPPED, CUBBY_EBOOT, CUBBY_EKVM or CUBBY_EGUEST_LOST with the reason in *error.
 */
CUBBY_API int cubby_box_failure(struct cubby_box *box, struct cubby_error *error);

/*
 * Stops the VM: asks the guest to power off, asks the VMM after `grace_ms`, and kills it after another
 * second. Returns when it is gone: 0, also for a box that had ended or was never started.
 */
CUBBY_API int cubby_box_stop(struct cubby_box *box, int grace_ms, struct cubby_error *error);

/* Kills the VM if it runs, removes all that is left of the box and frees it. Safe on NULL. Executions that
 * are still there report CUBBY_ESTOPPED; free them, too. */
CUBBY_API void cubby_box_destroy(struct cubby_box *box);

/* 12 characters of a-z and 0-9, unique on this host; lives as long as the box. */
CUBBY_API const char *cubby_box_id(const struct cubby_box *box);

/* The pid of the VMM while it runs, else 0. For people and logs: act on boxes through their handle. */
CUBBY_API pid_t cubby_box_pid(struct cubby_box *box);

/*
 * Once the VM has ended: copies the last lines that the guest wrote to its console (the kernel's messages),
 * at most `cap` - 1 bytes and a NUL, and made printable: nothing in it can drive a terminal. Returns the
 * length; 0 when there is nothing, or the VMM was killed before it could tell.
 */
CUBBY_API size_t cubby_box_console(struct cubby_box *box, char *text, size_t cap);

struct cubby_mark {
    char name[64];  /* a boundary: "spawn", "first-run", "agent-ready"… */
    uint64_t ns;    /* when it was passed, since the VMM's process was asked for */
    uint64_t count; /* or, with a name "exits/<kind>", how many exits of the kind until the end (0 for a
                       boundary) */
};

/*
 * The boundaries that the box has passed, earliest first, then the counts of the guest's exits by kind. Fills
 * at most `cap` entries of `marks` and returns how many there are (a count, which may exceed `cap`). Complete
 * once the box has been stopped by cubby_box_stop(). CUBBY_ESTATE without CUBBY_BOX_TIMELINE or before the
 * start.
 */
CUBBY_API int cubby_box_timeline(struct cubby_box *box, struct cubby_mark *marks, size_t cap,
                                 struct cubby_error *error);

/* The same for programs: {"version": 1, "marks": {name: ns…}, "exits": {…}, "exits_until_ready": {…}…}. NULL
 * when there is none. The caller frees it with free(). */
CUBBY_API char *cubby_box_timeline_json(struct cubby_box *box);

/* ---- executions -----------------------------------------------------------------------------------------*/

#define CUBBY_GRACE_MS       2000
#define CUBBY_STREAM_DEFAULT (256 * 1024)

struct cubby_exec_options {
    size_t size;
    /* The command and its arguments, NULL-terminated; required. Without a slash the command is looked up in
     * the PATH that it gets. */
    const char *const *argv;
    const char *const *env; /* "NAME=value"…, NULL-terminated; PATH and HOME are added when missing */
    const char *workdir;    /* absolute, in the box; NULL: "/" */
    const char *user;       /* "name|uid[:group|gid]", looked up in the box; NULL: root */
    uint64_t timeout_ms;    /* from its start, then SIGTERM to all its processes; 0: none */
    unsigned grace_ms;      /* from that SIGTERM to SIGKILL, at most 600000; 0: 2000 */
    unsigned flags;         /* CUBBY_EXEC_… */
    unsigned rows, cols;    /* size of the terminal, with CUBBY_EXEC_TTY; 0: 24 and 80 */
    unsigned buffer;        /* bytes of each output stream held for the reader, 4096 … 64 Mi; 0: 256 Ki */
    unsigned
        backlog; /* with CUBBY_EXEC_DETACHED: bytes of each stream kept in the box, up to 1 Mi; 0: 64 Ki */
};

#define CUBBY_EXEC_STDIN     0x1u  /* stdin comes from cubby_exec_write(); else it is /dev/null */
#define CUBBY_EXEC_NO_STDOUT 0x2u  /* stdout goes to the box's /dev/null */
#define CUBBY_EXEC_NO_STDERR 0x4u  /* stderr likewise */
#define CUBBY_EXEC_TTY       0x8u  /* a terminal: stdin, and stdout with stderr in it, as it is for people */
#define CUBBY_EXEC_DETACHED  0x10u /* goes on without this handle: see "detached executions" below */

enum cubby_stream { CUBBY_STDIN, CUBBY_STDOUT, CUBBY_STDERR };

enum cubby_how {
    CUBBY_EXITED = 1, /* by itself */
    CUBBY_SIGNALED,   /* by a signal */
    CUBBY_TIMED_OUT,  /* its time was up; exit_code says how it ended then */
    CUBBY_OOM_KILLED  /* the box's memory, or the execution's own, ran out */
};

struct cubby_result {
    size_t size;   /* set by the caller to sizeof(struct cubby_result) */
    int how;       /* enum cubby_how */
    int exit_code; /* 0 … 255, or -N when signal N ended the command */
    int leftover;  /* 1: processes of the command went on after it, and hold its output open: the rest was cut
                    */
    int reserved;
    uint64_t wall_ns, user_us, system_us;
    uint64_t max_rss_bytes;     /* of its largest process */
    uint64_t memory_peak_bytes; /* of all its processes together; 0: not known */
};

struct cubby_exec;

/*
 * Starts a command in a box that runs or boots, and returns at once. What goes wrong later (the box does not
 * boot, the command is not found) is reported by cubby_exec_wait(). Executions are independent of each other.
 * Errors: CUBBY_EARGUMENT, CUBBY_ERESOURCE, CUBBY_ESTATE (not started), CUBBY_ESTOPPED, CUBBY_EGUEST_LOST,
 * CUBBY_EBOOT, CUBBY_EKVM.
 */
CUBBY_API int cubby_exec_start(struct cubby_exec **out, struct cubby_box *box,
                               const struct cubby_exec_options *options, struct cubby_error *error);

/* A descriptor for poll(2) and epoll(7), readable when something may have happened; then call
 * cubby_exec_poll() with a timeout of 0, which takes note of it. Belongs to the execution. */
CUBBY_API int cubby_exec_fd(const struct cubby_exec *x);

#define CUBBY_CAN_READ_STDOUT 0x1 /* bytes, or the end of the stream, which is told once */
#define CUBBY_CAN_READ_STDERR 0x2
#define CUBBY_CAN_WRITE       0x4  /* stdin takes bytes, or refuses them for good */
#define CUBBY_IS_STARTED      0x8  /* the command runs, or ran */
#define CUBBY_IS_ENDED        0x10 /* cubby_exec_wait() returns at once; streams may still hold bytes */

/*
 * Waits until one of `wanted` (bits of the above, 0: none) holds, and returns all bits that hold now, a
 * positive number or 0. Returns when time is up as well (timeout_ms 0: without waiting): look at the bits.
 * Whoever waits by cubby_exec_fd() instead acts on all bits before the next poll(2): what is held here does
 * not make it readable.
 */
CUBBY_API int cubby_exec_poll(struct cubby_exec *x, int wanted, int timeout_ms);

/*
 * Takes up to `len` bytes of CUBBY_STDOUT or CUBBY_STDERR, without waiting: their number, 0 at the end of the
 * stream (again and again), CUBBY_EAGAIN when there are none yet, CUBBY_EARGUMENT for another stream. Bytes
 * that arrived before a guest was lost are still there. A stream that nobody reads holds the command up once
 * its buffer and the pipe in the guest are full, and nothing else: not the other stream.
 */
CUBBY_API ssize_t cubby_exec_read(struct cubby_exec *x, int stream, void *data, size_t len);

/* Nobody reads this output stream any more: what the box holds of it, and what comes, is thrown away, and
 * when the command writes more, its processes get SIGPIPE, as if their pipe had been closed. Returns 0 or
 * CUBBY_EARGUMENT. */
CUBBY_API int cubby_exec_close_output(struct cubby_exec *x, int stream);

/* Hands bytes to the command's stdin, without waiting: how many were taken, CUBBY_EAGAIN when none can be
 * now, CUBBY_ECLOSED when nobody reads them (the command closed its stdin, or ended), CUBBY_ESTATE without
 * CUBBY_EXEC_STDIN. */
CUBBY_API ssize_t cubby_exec_write(struct cubby_exec *x, const void *data, size_t len);
/* No more bytes follow; the command reads end of file. 0, also when closed before. */
CUBBY_API int cubby_exec_close_stdin(struct cubby_exec *x);

/* Sends signal `signo` (1 … 64) to the command's first process, or to all its processes when `tree` is not 0.
 * 0, also when it has ended; CUBBY_EARGUMENT; CUBBY_ERESOURCE when too many are waiting to be sent. */
CUBBY_API int cubby_exec_signal(struct cubby_exec *x, int signo, int tree);
/* The terminal's new size, each 1 … 65535. 0, also when it has ended; CUBBY_EARGUMENT; CUBBY_ESTATE without
 * CUBBY_EXEC_TTY; CUBBY_ERESOURCE as above. */
CUBBY_API int cubby_exec_resize(struct cubby_exec *x, unsigned rows, unsigned cols);
/* SIGKILL to all its processes, those that have moved away included. 0, also when it has ended. */
CUBBY_API int cubby_exec_kill(struct cubby_exec *x);

/*
 * Waits for the end of the command; may be called again and by several threads. 0 with *result filled (may be
 * NULL). A command's own failure is a result, not an error. Errors: CUBBY_ETIMEOUT (go on waiting if you
 * like); and why it did not run to its end: CUBBY_ENOTFOUND_CMD, CUBBY_ENOTEXEC_CMD, CUBBY_ESPAWN,
 * CUBBY_EUNSUPPORTED, CUBBY_EBOOT, CUBBY_EKVM, CUBBY_EGUEST_LOST, CUBBY_ESTOPPED, CUBBY_EPROTOCOL,
 * CUBBY_ERESOURCE. It does not read the streams: a command that waits for a reader does not end.
 */
CUBBY_API int cubby_exec_wait(struct cubby_exec *x, int timeout_ms, struct cubby_result *result,
                              struct cubby_error *error);

/* Frees the execution; a command that still runs is killed with all its processes, unless it is detached and
 * has started. Safe on NULL. */
CUBBY_API void cubby_exec_free(struct cubby_exec *x);

/* ---- detached executions --------------------------------------------------------------------------------*/

/*
 * A command started with CUBBY_EXEC_DETACHED goes on when its handle is freed, once CUBBY_IS_STARTED holds.
 * It never waits for a reader: the box keeps the last bytes of its output (`backlog`), and a handle that
 * reads more slowly than the command writes misses some, which cubby_exec_lost() tells. Any number of
 * handles, of this and other processes, may be attached to it, each with a view of its own. Ended, it stays
 * with its result and its last output until it is removed, or the box ends; of more than 256 ended ones, or
 * when their output takes too much of the box's memory, those that ended first are gone.
 */

/* Its id, unique in the box, which names it to the calls below; 0 before CUBBY_IS_STARTED. */
CUBBY_API uint64_t cubby_exec_id(struct cubby_exec *x);

struct cubby_attach_options {
    size_t size;
    uint64_t
        stdout_from; /* how many bytes of the stream to pass over, counted from its first; 0: all that is */
    uint64_t stderr_from; /* kept; CUBBY_FROM_NOW: only what comes */
    unsigned flags;       /* CUBBY_EXEC_STDIN, _NO_STDOUT, _NO_STDERR, CUBBY_ATTACH_TAKE_STDIN */
    unsigned buffer;      /* as in struct cubby_exec_options */
};

#define CUBBY_FROM_NOW          UINT64_MAX
#define CUBBY_ATTACH_TAKE_STDIN 0x100u /* with CUBBY_EXEC_STDIN: also from another handle that has it */

/*
 * Makes a handle for the detached execution `id` and returns at once; it is used as that of
 * cubby_exec_start(), and CUBBY_IS_STARTED holds as soon as it is attached. options may be NULL. stdin is one
 * handle's at a time: cubby_exec_wait() reports CUBBY_ESTATE when it is another's, and CUBBY_ENOTFOUND when
 * there is no such execution. Freeing the handle leaves the execution alone. Errors: as cubby_exec_start().
 */
CUBBY_API int cubby_exec_attach(struct cubby_exec **out, struct cubby_box *box, uint64_t id,
                                const struct cubby_attach_options *options, struct cubby_error *error);

/* How many bytes of CUBBY_STDOUT or CUBBY_STDERR this handle has missed so far, because it came late or read
 * too slowly. Where bytes are missing those before and after them follow each other. */
CUBBY_API uint64_t cubby_exec_lost(struct cubby_exec *x, int stream);

struct cubby_exec_info {
    size_t size;     /* set by the caller to sizeof(struct cubby_exec_info) */
    uint64_t id;     /* for cubby_exec_attach() and cubby_exec_remove(), if it is detached */
    uint64_t age_ns; /* since its start */
    pid_t pid;       /* in the box */
    int ended;       /* 1: `result` holds */
    unsigned flags;  /* CUBBY_INFO_… */
    int reserved;
    struct cubby_result result;
    char command[264]; /* the arguments with blanks between them, printable, cut at 256 bytes */
};

#define CUBBY_INFO_DETACHED   0x1u
#define CUBBY_INFO_TTY        0x2u
#define CUBBY_INFO_STDIN      0x4u /* its stdin takes bytes */
#define CUBBY_INFO_STDIN_HELD 0x8u /* and some handle has it */

struct cubby_exec_list;

/*
 * The executions of a box that run, and the detached ones that are kept, in the order of their start; waits
 * for the answer. 0 with *out set, to be freed by cubby_exec_list_free(). Errors: as cubby_exec_start(), and
 * CUBBY_ETIMEOUT, CUBBY_EGUEST_LOST, CUBBY_EPROTOCOL.
 */
CUBBY_API int cubby_exec_list(struct cubby_exec_list **out, struct cubby_box *box, int timeout_ms,
                              struct cubby_error *error);
CUBBY_API size_t cubby_exec_list_count(const struct cubby_exec_list *list);
/* Fills *info with number `index`. CUBBY_EARGUMENT beyond the last. */
CUBBY_API int cubby_exec_list_get(const struct cubby_exec_list *list, size_t index,
                                  struct cubby_exec_info *info);
CUBBY_API void cubby_exec_list_free(struct cubby_exec_list *list);

/*
 * Removes a detached execution, which nobody finds from then on, and waits for that: 0 with *result filled
 * (may be NULL). One that runs is CUBBY_ESTATE, unless `kill` is not 0: then it is killed first, with all
 * that an ended one has left behind. Errors: CUBBY_ENOTFOUND, and those of cubby_exec_list().
 */
CUBBY_API int cubby_exec_remove(struct cubby_box *box, uint64_t id, int kill, int timeout_ms,
                                struct cubby_result *result, struct cubby_error *error);

#ifdef __cplusplus
}
#endif

#endif
