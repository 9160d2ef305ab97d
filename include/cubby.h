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
 *  - The library never exits, prints nothing but the log that CUBBY_LOG asks for (cubby(1); by default
 *    warnings, on stderr), never changes signal handlers or the signal mask of the caller, raises no SIGPIPE,
 *    leaves no zombie, and has no global state. Its descriptors are close-on-exec. A box is a child process:
 *    the caller sees SIGCHLD when it ends, and should wait for its own children by their pids.
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
    CUBBY_ETIMEOUT = -11,        /* the deadline of this call passed; nothing was changed, or its text says */
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
    CUBBY_EINTERNAL = -22,       /* a mistake of ours; please report it */
    CUBBY_ENOTDIR = -23,         /* a file where a folder is needed, or a folder where a file is */
    CUBBY_EFILE = -24,           /* a file cannot be read or written otherwise: permission, size… */
    CUBBY_EGUEST_STORAGE = -25   /* the box's own disk or tmpfs is full, read-only or broken */
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

/* ---- images ---------------------------------------------------------------------------------------------*/

/*
 * The images of this user: what was pulled from registries or loaded from files, kept in cubby's home until
 * it is removed. Any number of processes may use one home. A reference is what Docker takes: "python:slim",
 * "ghcr.io/a/b@sha256:…", "localhost:5000/x"; where an image must be there already, also the first four or
 * more digits of its id. The platform is "linux/arm64" and the like; NULL is this host's.
 */
struct cubby_images;

struct cubby_images_options {
    size_t size;
    const char *home; /* cubby's home; NULL: $CUBBY_HOME, $XDG_DATA_HOME/cubby, ~/.local/share/cubby */
    /* cubby-config(5); NULL: $XDG_CONFIG_HOME/cubby/config.json or ~/.config/cubby/config.json, if it is
     * there */
    const char *config;
    /* "HOST" or "HOST:PORT"…, NULL-terminated: registries that are spoken to without encryption, beside those
     * of the configuration. NULL: none. */
    const char *const *insecure_registries;
};

/* Opens the images of a home, which is made when it is not there; options may be NULL. Errors: CUBBY_ECONFIG
 * (the configuration, no home), CUBBY_ESTORAGE, CUBBY_ERESOURCE, CUBBY_EARGUMENT. Any thread may use it. */
CUBBY_API int cubby_images_open(struct cubby_images **out, const struct cubby_images_options *options,
                                struct cubby_error *error);
/* Safe on NULL. Nobody uses it any more. */
CUBBY_API void cubby_images_close(struct cubby_images *images);

/*
 * What is known of an image: made by the library, read by the caller, freed by cubby_image_free(). A later
 * library may have more members behind these. Texts that the image does not have are "", lists end with NULL
 * and may be empty.
 */
struct cubby_image {
    const char *name;      /* the shortest reference: "python:slim" */
    const char *reference; /* in full: "docker.io/library/python:slim" */
    const char *id;        /* digest of its manifest: "sha256:…" */
    const char *platform;  /* "linux/amd64" */
    uint64_t stored_bytes; /* manifest, configuration and layers, as stored */
    uint64_t root_bytes;   /* its merged root file system on disk; 0: not made */
    int64_t stored_at;     /* pulled or loaded: seconds since 1970 */
    int64_t used_at;       /* last used */
    int in_use;            /* 1: by a box, right now */
    int inspected;         /* 1: the following is filled, by cubby_images_inspect() and cubby_images_pull() */
    const char *created, *author, *user, *workdir, *stop_signal;
    const char *const *env;                      /* "NAME=value" */
    const char *const *entrypoint, *const *cmd;  /* see CUBBY_EXEC_IMAGE */
    const char *const *volumes, *const *ports;   /* "/data", "80/tcp" */
    const char *const *labels;                   /* "name=value" */
    const char *const *layers, *const *diff_ids; /* digests, bottom first: as stored, and inflated */
};

/* Safe on NULL. */
CUBBY_API void cubby_image_free(struct cubby_image *image);
/* As JSON, in the words of `docker image inspect` where they mean the same; `indent` 0: on one line. The
 * caller frees it with free(). NULL without memory. */
CUBBY_API char *cubby_image_json(const struct cubby_image *image, int indent);

enum cubby_pull_policy {
    CUBBY_PULL_MISSING, /* what is not there is fetched: an image that is there costs no request */
    CUBBY_PULL_ALWAYS,  /* the registry is asked what the reference stands for now */
    CUBBY_PULL_NEVER
};

enum cubby_pull_phase {
    CUBBY_PULL_RESOLVING,   /* the registry is asked */
    CUBBY_PULL_RESOLVED,    /* `layers` is how many there are, `total` their bytes */
    CUBBY_PULL_EXISTS,      /* of one layer, as all that follow: it is there */
    CUBBY_PULL_WAITING,     /* another process downloads it */
    CUBBY_PULL_DOWNLOADING, /* `have` of `total` bytes */
    CUBBY_PULL_RETRYING,    /* because of `reason`, in `delay_ms` */
    CUBBY_PULL_VERIFYING,
    CUBBY_PULL_DOWNLOADED,
    CUBBY_PULL_MERGING, /* it goes into the root file system */
    CUBBY_PULL_MERGED,
    CUBBY_PULL_FINISHING /* of the image: its root file system is written to the end */
};

struct cubby_pull_event {
    int phase;          /* enum cubby_pull_phase */
    int layer, layers;  /* 0 … layers - 1, bottom first; -1: the image, or its configuration */
    const char *digest; /* of the layer; "" */
    uint64_t have, total, delay_ms;
    const char *reason; /* "" */
};

struct cubby_pull_options {
    size_t size;
    const char *platform;
    /* Called in the thread of the pull, which waits for it; the event is valid during the call. NULL: never.
     */
    void (*progress)(void *context, const struct cubby_pull_event *event);
    void *context;
    unsigned policy; /* enum cubby_pull_policy */
    int cancel_fd;   /* watched and not read: when it becomes readable, the pull ends. 0 or negative: none */
};

/* What a pull did; all zero for an image that was there. */
struct cubby_pull_counts {
    size_t size;       /* set by the caller to sizeof(struct cubby_pull_counts) */
    uint64_t requests; /* over HTTP, to all hosts */
    uint64_t blobs;    /* layers and the like that were downloaded, at least in part */
    uint64_t bytes;    /* of them */
    uint64_t merges;   /* 1: the root file system was made */
};

/*
 * Blocks until the image is there, checked, with its root file system made. *out (out may be NULL) is then
 * the image, `counts` (may be NULL) what was done; options may be NULL. What was downloaded before a failure
 * is used by the next pull. Errors: CUBBY_EARGUMENT (no reference or platform), CUBBY_EIMAGE_NOT_FOUND (no
 * such repository, tag or image), CUBBY_EIMAGE (registry, transfer, content, platform; the text tells which),
 * CUBBY_ESTORAGE, CUBBY_ESTOPPED (cancel_fd), CUBBY_ERESOURCE.
 */
CUBBY_API int cubby_images_pull(struct cubby_images *images, const char *reference,
                                const struct cubby_pull_options *options, struct cubby_image **out,
                                struct cubby_pull_counts *counts, struct cubby_error *error);

/* One image that is there, in *out. CUBBY_EIMAGE_NOT_FOUND, CUBBY_EARGUMENT (no reference, or the beginning
 * of several ids), CUBBY_EIMAGE, CUBBY_ESTORAGE. */
CUBBY_API int cubby_images_inspect(struct cubby_images *images, const char *reference, const char *platform,
                                   struct cubby_image **out, struct cubby_error *error);

/* All of them, by reference: returns how many, and in *out an array of them for cubby_images_list_free().
 * CUBBY_ESTORAGE, CUBBY_ERESOURCE. */
CUBBY_API int cubby_images_list(struct cubby_images *images, struct cubby_image ***out,
                                struct cubby_error *error);
CUBBY_API void cubby_images_list_free(struct cubby_image **list);

/* Forgets a reference, of one platform or of all (NULL). What nobody refers to any more stays until
 * cubby_images_prune(). Errors as cubby_images_inspect(). */
CUBBY_API int cubby_images_remove(struct cubby_images *images, const char *reference, const char *platform,
                                  struct cubby_error *error);

struct cubby_prune_options {
    size_t size;
    uint64_t older_than_s; /* only what has not been used for that long; 0: of any age */
    unsigned flags;        /* CUBBY_PRUNE_… */
    unsigned reserved;     /* 0 */
};

#define CUBBY_PRUNE_ALL          0x1u /* images with a reference, too, but for those that a box uses */
#define CUBBY_PRUNE_DRY_RUN      0x2u /* only count */
#define CUBBY_PRUNE_KEEP_PARTIAL 0x4u /* what interrupted pulls have downloaded stays, to be resumed */

struct cubby_prune_counts {
    size_t size;                   /* set by the caller to sizeof(struct cubby_prune_counts) */
    uint64_t images, blobs, roots; /* removed: references, layers and the like, root file systems */
    uint64_t partial;              /* what was left of pulls that did not end */
    uint64_t in_use;               /* left: nobody refers to them, and somebody uses them */
    uint64_t bytes;                /* freed */
};

/* Removes what no reference leads to. `options` and `counts` may be NULL. */
CUBBY_API int cubby_images_prune(struct cubby_images *images, const struct cubby_prune_options *options,
                                 struct cubby_prune_counts *counts, struct cubby_error *error);

enum cubby_load_kind {
    CUBBY_LOAD_AUTO,   /* what it looks like */
    CUBBY_LOAD_IMAGES, /* an OCI image layout, or what `docker save` writes */
    CUBBY_LOAD_ROOTFS  /* a root file system */
};

struct cubby_load_options {
    size_t size;
    const char *name;     /* store the one image under this reference; NULL: as the file calls it */
    const char *select;   /* of several images the one that the file calls so; NULL: all */
    const char *platform; /* of several platforms; NULL: this host's, or what there is */
    /* Told of each image that is there now; `image` is valid during the call. NULL: nobody. */
    void (*loaded)(void *context, const struct cubby_image *image);
    void *context;
    unsigned kind; /* enum cubby_load_kind */
    int cancel_fd; /* as in struct cubby_pull_options */
};

/*
 * Loads images from a file or folder: an OCI image layout, what `docker save` writes, or a plain root file
 * system, which becomes an image of one layer; tars may be compressed with gzip or zstd, and "-" is standard
 * input. Their root file systems are made. options may be NULL. Returns how many were loaded. Errors:
 * CUBBY_EIMAGE_NOT_FOUND (no such file or folder, nothing of that name in it), CUBBY_EIMAGE, CUBBY_EARGUMENT,
 * CUBBY_ESTORAGE, CUBBY_ESTOPPED.
 */
CUBBY_API int cubby_images_load(struct cubby_images *images, const char *path,
                                const struct cubby_load_options *options, struct cubby_error *error);

/*
 * Writes images that are there to a file or pipe, as a tar that cubby_images_load(), `docker load` and
 * `podman load` take. `references` ends with NULL; the same images give the same bytes. Errors: as
 * cubby_images_inspect(), and CUBBY_ECLOSED when nobody reads the pipe, CUBBY_ESTOPPED (cancel_fd, as above).
 */
CUBBY_API int cubby_images_save(struct cubby_images *images, const char *const *references,
                                const char *platform, int fd, int cancel_fd, struct cubby_error *error);

/* ---- boxes ----------------------------------------------------------------------------------------------*/

#define CUBBY_CPUS_MAX           64
#define CUBBY_MEMORY_MIB_MIN     32
#define CUBBY_MEMORY_MIB_MAX     (16 * 1024 * 1024)
#define CUBBY_MEMORY_MIB_DEFAULT 512
#define CUBBY_BOOT_TIMEOUT_MS    60000
#define CUBBY_DISK_MIB_MIN       16
#define CUBBY_DISK_MIB_MAX       (8 * 1024 * 1024)

struct cubby_box_options {
    size_t size;
    /* Folder with cubby-vmm, vmlinux, initrd.cpio and default.ext4; or several, with ':' between. NULL:
     * $CUBBY_ASSETS, else libcubby's own folder, "cubby" in that folder, the folder of the running
     * executable, then <prefix>/lib/cubby. */
    const char *assets;
    const char *kernel; /* a kernel instead of the assets' vmlinux */
    /* The root file system: an ext4 image (used read-only), or a folder (an image is made of it, in $TMPDIR
     * or /tmp, that lives as long as the box). NULL: `image`, else the assets' default.ext4. It
     * is never written to. */
    const char *rootfs;
    unsigned cpus;            /* 1 … 64; 0: 1 */
    unsigned memory_mib;      /* 32 … 16 Mi, which is 16 TiB; 0: 512 */
    unsigned boot_timeout_ms; /* from start until the agent is ready; 0: 60000 */
    unsigned flags;           /* CUBBY_BOX_… */
    /* A descriptor, watched and not read: when it becomes readable, cubby_box_create() gives up the image
     * that it is making of a folder. 0 or negative: none. */
    int cancel_fd;
    /* What the box writes goes to a disk of this size, 16 … 8 Mi (8 TiB): a file in cubby's home (CUBBY_HOME,
     * see cubby(1)) that takes up only what was written, lasts while the box is stopped and started again,
     * and is gone with the box. 0: it is kept in the box's memory, and forgotten whenever the VM ends. */
    unsigned disk_mib;
    /* An image, in place of `rootfs`: a reference. What it says of environment, user and working folder goes
     * for the executions of the box that do not say it themselves. NULL: none. */
    const char *image;
    struct cubby_images *images;           /* where it is, or is pulled to; NULL: those of the default home */
    const struct cubby_pull_options *pull; /* whether and how; NULL: when it is missing, until cancel_fd */
    const char *const
        *env; /* "NAME=value"…, NULL-terminated, for all executions, over the image's; NULL: none */
};

#define CUBBY_BOX_TIMELINE 0x1u /* record the boundaries of the box's life: see cubby_box_timeline() */
#define CUBBY_BOX_LOG                                                                                        \
    0x2u /* the VMM's own log lines go to this process's stderr, as they do when CUBBY_LOG asks for them */

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
 * all options, pulls the image, makes an image of a folder, and makes the box's folder
 * $XDG_RUNTIME_DIR/cubby/<id> (or /tmp/cubby-<uid>/<id>). Errors: CUBBY_EARGUMENT, CUBBY_ECONFIG,
 * CUBBY_EIMAGE_NOT_FOUND, CUBBY_EIMAGE, CUBBY_ESTORAGE, CUBBY_ESTOPPED (given up through cancel_fd),
 * CUBBY_ERESOURCE.
 */
CUBBY_API int cubby_box_create(struct cubby_box **out, const struct cubby_box_options *options,
                               struct cubby_error *error);

/*
 * Starts the VM and returns at once; executions may be started now, they begin when the box is ready. A box
 * that was stopped or has failed may be started again, any number of times: its state, failure, console and
 * timeline are then those of the new VM, and executions of the earlier one report how that ended. Errors:
 * CUBBY_ESTATE while it runs or is being stopped, CUBBY_EKVM, CUBBY_ECONFIG, CUBBY_ERESOURCE; its
 * state is then what it was.
 */
CUBBY_API int cubby_box_start(struct cubby_box *box, struct cubby_error *error);

/*
 * Waits until the box is ready or has failed to become so. 0 when it runs. Errors: CUBBY_ETIMEOUT,
 * CUBBY_EBOOT, CUBBY_EKVM, CUBBY_ESTOPPED, CUBBY_EGUEST_LOST, CUBBY_ESTATE when not started.
 */
CUBBY_API int cubby_box_wait_ready(struct cubby_box *box, int timeout_ms, struct cubby_error *error);

/* Waits until the VM that runs now has ended: 0. CUBBY_ETIMEOUT, CUBBY_ESTATE when not started. */
CUBBY_API int cubby_box_wait_ended(struct cubby_box *box, int timeout_ms, struct cubby_error *error);

/*
 * A descriptor for poll(2) and epoll(7), readable when the box may have changed; then ask cubby_box_state().
 * Belongs to the box. A change of the state keeps it readable until cubby_box_state() has told it, whichever
 * call, on the box or its executions, in whichever thread, took note of it; the end of the VM keeps it
 * readable until the box is started again. So one event loop that alone calls cubby_box_state() misses
 * nothing. Of several that watch one box, the first to ask may leave it quiet for the others: let that one
 * tell them, or let each watch an execution of its own, which learns of the boot and of the end in any case.
 */
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

#define CUBBY_PIDS_LIMIT_MAX      4194304
#define CUBBY_CPU_LIMIT_MILLI_MIN 10
#define CUBBY_CPU_LIMIT_MILLI_MAX (1000 * CUBBY_CPUS_MAX)
#define CUBBY_RLIMITS_MAX         16         /* how many resources Linux knows */
#define CUBBY_RLIM_INFINITY       UINT64_MAX /* no limit */

/* A limit of each process, as setrlimit(2) sets it. */
struct cubby_rlimit {
    int resource;  /* RLIMIT_NOFILE… of <sys/resource.h>, 0 … 15 */
    int reserved;  /* 0 */
    uint64_t soft; /* in the resource's own unit: bytes, seconds, a number…; see setrlimit(2) */
    uint64_t hard; /* at least `soft` */
};

struct cubby_exec_options {
    size_t size;
    /* The command and its arguments, NULL-terminated; required, but for CUBBY_EXEC_IMAGE. Without a slash the
     * command is looked up in the PATH that it gets. */
    const char *const *argv;
    /* "NAME=value"…, NULL-terminated, over those of the box and its image; PATH and HOME are added when
     * missing. */
    const char *const *env;
    const char *workdir; /* absolute, in the box; NULL: the image's, else "/" */
    const char *user;    /* "name|uid[:group|gid]", looked up in the box; NULL: the image's, else root */
    uint64_t timeout_ms; /* from its start, then SIGTERM to all its processes; 0: none */
    unsigned grace_ms;   /* from that signal to SIGKILL, at most 600000; 0: 2000 */
    unsigned flags;      /* CUBBY_EXEC_… */
    unsigned rows, cols; /* size of the terminal, with CUBBY_EXEC_TTY; 0: 24 and 80 */
    unsigned buffer;     /* bytes of each output stream held for the reader, 4096 … 64 Mi; 0: 256 Ki */
    unsigned
        backlog; /* with CUBBY_EXEC_DETACHED: bytes of each stream kept in the box, up to 1 Mi; 0: 64 Ki */
    /* With CUBBY_EXEC_IMAGE: what runs in place of the image's entrypoint, whose command does not count then;
     * a list without a word is no entrypoint. NULL: the image's. */
    const char *const *entrypoint;
    /*
     * What all its processes together may have, at most: those that it starts count, wherever they move.
     * Kept by a control group in the box (Linux Documentation/admin-guide/cgroup-v2.rst) below the box's
     * own memory and CPUs, which bound every execution in any case. A box whose kernel lacks control groups
     * refuses them: CUBBY_EUNSUPPORTED.
     */
    unsigned memory_limit_mib; /* memory.max, with the page cache of its files: what cannot be had without
                                  more ends with CUBBY_OOM_KILLED. 1 … 16 Mi; 0: none */
    unsigned pids_limit;       /* pids.max: processes and threads; one more fork(2) fails with EAGAIN.
                                  1 … 4194304; 0: none */
    unsigned cpu_limit_milli;  /* cpu.max: thousandths of one CPU, of each 100 ms; what wants more waits.
                                  10 … 64000; 0: none */
    unsigned rlimit_count;     /* of `rlimits`, at most 16 */
    /* What each process may have, set before the command runs and inherited by all; each resource once. The
     * rest is as in the box, where only open files differ from Linux's defaults (docs/init-contract.md). A
     * limit that the box's kernel refuses is CUBBY_ESPAWN. */
    const struct cubby_rlimit *rlimits;
};

#define CUBBY_EXEC_STDIN     0x1u  /* stdin comes from cubby_exec_write(); else it is /dev/null */
#define CUBBY_EXEC_NO_STDOUT 0x2u  /* stdout goes to the box's /dev/null */
#define CUBBY_EXEC_NO_STDERR 0x4u  /* stderr likewise */
#define CUBBY_EXEC_TTY       0x8u  /* a terminal: stdin, and stdout with stderr in it, as it is for people */
#define CUBBY_EXEC_DETACHED  0x10u /* goes on without this handle: see "detached executions" below */
/* What the box's image is made to run: its entrypoint with argv behind, or where that is NULL or has no word,
 * with the image's command. The rules are those of `docker run`. When its time is up, or its box stops, it
 * gets the image's stop signal in place of SIGTERM. Its working directory is made when it is missing. */
#define CUBBY_EXEC_IMAGE 0x20u

enum cubby_stream { CUBBY_STDIN, CUBBY_STDOUT, CUBBY_STDERR };

enum cubby_how {
    CUBBY_EXITED = 1, /* by itself */
    CUBBY_SIGNALED,   /* by a signal */
    CUBBY_TIMED_OUT,  /* its time was up; exit_code says how it ended then */
    CUBBY_OOM_KILLED  /* the box's memory, or the execution's own, ran out: `flags` tell which */
};

struct cubby_result {
    size_t size;   /* set by the caller to sizeof(struct cubby_result) */
    int how;       /* enum cubby_how */
    int exit_code; /* 0 … 255, or -N when signal N ended the command */
    int leftover;  /* 1: processes of the command went on after it, and hold its output open: the rest was cut
                    */
    unsigned flags; /* CUBBY_HIT_… */
    uint64_t wall_ns, user_us, system_us;
    uint64_t max_rss_bytes;     /* of its largest process */
    uint64_t memory_peak_bytes; /* of all its processes together; 0: not known */
};

/* Which limits its processes ran into until its first one ended, however that was. */
#define CUBBY_HIT_OOM 0x1u /* the kernel killed some of them for want of memory */
#define CUBBY_HIT_MEMORY_LIMIT                                                                               \
    0x2u /* with CUBBY_HIT_OOM: of its own memory_limit_mib, not of the box's memory */
#define CUBBY_HIT_PIDS_LIMIT 0x4u /* a process or thread was refused by its pids_limit */

struct cubby_exec;

/*
 * Starts a command in a box that runs or boots, and returns at once. What goes wrong later (the box does not
 * boot, the command is not found) is reported by cubby_exec_wait(). Executions are independent of each other.
 * Errors: CUBBY_EARGUMENT, CUBBY_ERESOURCE, CUBBY_ESTATE (not started), CUBBY_ESTOPPED, CUBBY_EGUEST_LOST,
 * CUBBY_EBOOT, CUBBY_EKVM.
 */
CUBBY_API int cubby_exec_start(struct cubby_exec **out, struct cubby_box *box,
                               const struct cubby_exec_options *options, struct cubby_error *error);

/*
 * A descriptor for poll(2) and epoll(7), readable when something may have happened; then call
 * cubby_exec_poll() with a timeout of 0, which takes note of it. Belongs to the execution, and tells of the
 * box as well, whoever took note of that. Stays readable once the execution has ended. It is for one event
 * loop: what another thread's call on the same execution took note of does not make it readable. One epoll
 * set takes those of at most 100 executions of a box, for the kernel bounds how widely sets are nested.
 */
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
 * when the command writes more, its processes get SIGPIPE, as if their pipe had been closed. A detached
 * execution gets no signal: it has other readers, or will have. Returns 0 or CUBBY_EARGUMENT. */
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

/* ---- executions, in one call ----------------------------------------------------------------------------*/

#define CUBBY_OUTPUT_MAX (1024 * 1024)

struct cubby_output {
    size_t size; /* set by the caller, as all that follows up to `cancel_fd` */
    /* What the command reads from its stdin, then end of file; NULL: stdin is /dev/null. */
    const void *input;
    size_t input_len;
    size_t out_max, err_max; /* how many bytes of stdout and of stderr are kept; 0: 1 Mi */
    /* Watched and not read: when it becomes readable, the command is killed. 0 or negative: none. */
    int cancel_fd;
    int reserved; /* 0 */
    /* Set by cubby_run(), freed by cubby_output_free(). */
    char *out, *err;             /* the first bytes of stdout and of stderr, with a NUL behind */
    size_t out_len, err_len;     /* how many are kept */
    uint64_t out_lost, err_lost; /* how many came after these, and were thrown away; 0: all is here */
    struct cubby_result result;
};

/*
 * Runs a command in a box that runs or boots, and returns when it has ended: cubby_exec_start(), and what it
 * takes to feed it, read both streams and wait. `options` are those of cubby_exec_start() without
 * CUBBY_EXEC_STDIN and CUBBY_EXEC_DETACHED; their `timeout_ms` bounds it. 0 with the output and the result in
 * *output: a command's own failure is a result. Errors: as cubby_exec_start() and cubby_exec_wait(), and
 * CUBBY_ESTOPPED (given up through cancel_fd); what came before the error is in *output then.
 */
CUBBY_API int cubby_run(struct cubby_box *box, const struct cubby_exec_options *options,
                        struct cubby_output *output, struct cubby_error *error);
/* Frees what cubby_run() has put there. Safe on NULL, after an error, and twice. */
CUBBY_API void cubby_output_free(struct cubby_output *output);

/* ---- detached executions --------------------------------------------------------------------------------*/

/*
 * A command started with CUBBY_EXEC_DETACHED goes on when its handle is freed, once CUBBY_IS_STARTED holds.
 * It never waits for a reader: the box keeps the last bytes of its output (`backlog`), and a handle that
 * reads more slowly than the command writes misses some, which cubby_exec_lost() tells. Any number of
 * handles, of this and other processes, may be attached to it, each with a view of its own. Ended, it stays
 * with its result and its last output until it is removed, or the box ends; of more than 256 ended ones, or
 * when their output takes too much of the box's memory, those that ended first are gone. When the guest does
 * not end it in time (timeout_ms) its handle reports CUBBY_EGUEST_LOST and no result: it may run on.
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
 * that an ended one has left behind. Errors: CUBBY_ENOTFOUND, and those of cubby_exec_list(). After
 * CUBBY_ETIMEOUT or CUBBY_EGUEST_LOST the guest may have done it all the same, or do it later: the execution
 * is then killed or removed, and its result is lost. cubby_exec_list() tells.
 */
CUBBY_API int cubby_exec_remove(struct cubby_box *box, uint64_t id, int kill, int timeout_ms,
                                struct cubby_result *result, struct cubby_error *error);

/* ---- files ----------------------------------------------------------------------------------------------*/

#define CUBBY_COPY_STALL_MS 60000

struct cubby_copy_result {
    size_t size;          /* set by the caller to sizeof(struct cubby_copy_result) */
    uint64_t entries;     /* files, folders, links… that were made */
    uint64_t bytes;       /* of data; holes do not count */
    uint64_t skipped;     /* left out: sockets; devices without CUBBY_COPY_ARCHIVE; what /proc, /sys… hold;
                             what vanished while it was read */
    uint64_t xattrs_lost; /* extended attributes that the file system at the target cannot hold */
};

struct cubby_copy_options {
    size_t size;
    unsigned flags;    /* CUBBY_COPY_… */
    unsigned stall_ms; /* without a byte from or to the guest, until it is given up; 0: 60000 */
    /* Whom all that is copied into the box belongs to there: "name|uid[:group|gid]", looked up in the box;
     * NULL: root. Not for copies out, which belong to the caller, nor with CUBBY_COPY_ARCHIVE. */
    const char *owner;
    /* A descriptor, watched and not read: when it becomes readable, the copy is given up. 0 or negative:
     * none. */
    int cancel_fd;
    int reserved; /* 0 */
    /* Called from time to time by the copying thread, with what was copied so far; NULL: not called. */
    void (*progress)(void *context, const struct cubby_copy_result *so_far);
    void *context;
};

/* Owners, set-user-id and set-group-id bits, devices, ACLs, capabilities and "trusted." attributes as they
 * are at the source; needs root on this host for copies out, and for devices. From a box that you do not
 * trust it makes what its root chose on your host. */
#define CUBBY_COPY_ARCHIVE    0x1u
#define CUBBY_COPY_NO_REPLACE 0x2u /* whatever exists at the target and is no folder is an error */
#define CUBBY_COPY_FOLLOW     0x4u /* if the source itself is a symbolic link: what it points to */

/*
 * Copies the file or folder `host_path` into a box that runs or boots, and returns when it is there. The path
 * in the box is absolute, and resolved inside the box with its own mounts. As cp(1) and `docker cp` do it:
 *
 *  - a target that is a folder takes the source under the source's own name; with a source that ends in
 *    "/." (or is "/", "." or ends in "..") it takes what is in the source, which must be a folder;
 *  - another target becomes the copy: its folder exists, it itself need not. A folder never replaces a
 *    file (CUBBY_ENOTDIR), nor a file a folder; folders merge;
 *  - symbolic links are copied as links. Those of the target's path are followed, but the last component
 *    only to a folder, and none below the target.
 *
 * Kept: contents with their holes, names of any bytes, modes, modification times to the nanosecond, hard
 * links within the copy, FIFOs, "user." extended attributes; and what CUBBY_COPY_ARCHIVE says. Any size; a
 * path below the source has at most 4095 bytes.
 *
 * Each file appears whole, under its name, or not at all: an interrupted copy leaves, for each file, the old
 * one or the new one, and nothing temporary (but when what writes is killed: this process, or in the box
 * the agent's for want of memory or in a stop whose grace is over, or all of the box; then one file
 * ".cubby-….tmp" may stay). The modes of folders come last.
 *
 * Returns 0 with *result filled (may be NULL). Errors name the path: CUBBY_EARGUMENT; CUBBY_ENOTFOUND (the
 * source, the target's folder, the owner); CUBBY_EEXISTS; CUBBY_ENOTDIR; CUBBY_ESTORAGE (this host's file
 * system), CUBBY_EGUEST_STORAGE (the box's); CUBBY_EFILE; CUBBY_EUNSUPPORTED (a device or a file of /proc as
 * the source); CUBBY_ESTOPPED (given up through cancel_fd, or the box was stopped); CUBBY_EGUEST_LOST,
 * CUBBY_EBOOT, CUBBY_EKVM, CUBBY_EPROTOCOL, CUBBY_ERESOURCE, CUBBY_ESTATE. What was in place before an error
 * stays.
 */
CUBBY_API int cubby_copy_in(struct cubby_box *box, const char *host_path, const char *box_path,
                            const struct cubby_copy_options *options, struct cubby_copy_result *result,
                            struct cubby_error *error);

/* The same from the box to this host. What the box sends is trusted no more than its bytes: nothing outside
 * of `host_path` is ever written, linked to or followed. So a symbolic link to a folder at the end of
 * `host_path`, which an earlier copy may have left there, is CUBBY_ENOTDIR; "link/" is followed. */
CUBBY_API int cubby_copy_out(struct cubby_box *box, const char *box_path, const char *host_path,
                             const struct cubby_copy_options *options, struct cubby_copy_result *result,
                             struct cubby_error *error);

#ifdef __cplusplus
}
#endif

#endif
