/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cubby run: one command in a box of its own. Options to a box, a box to an execution, its end to an exit
 * code.
 */
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/images_open.h"
#include "cli/pull_view.h"
#include "cli/session.h"
#include "cli/timeline.h"
#include "cli/ulimit.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONSOLE_LINES 12

struct run_settings {
    uint64_t memory_mib, disk_mib, cpus, timeout_ms, boot_timeout_ms;
    uint64_t memory_limit_mib, pids_limit, cpu_limit_milli; /* of the command */
    struct word_list env, env_files, insecure, ulimits;
    const char *workdir, *user, *rootfs, *kernel, *assets, *timeline, *platform, *entrypoint;
    unsigned pull;
    bool interactive, tty, verbose, quiet;
};

struct run {
    const struct run_settings *settings;
    const char *image; /* NULL: none is named */
    char **command;
    struct cubby_images *images;
    struct environment env;
    struct ulimits ulimits;
    struct cubby_box *box;
    struct session session;
};

/* ---- exit codes
 * -------------------------------------------------------------------------------------------*/

static int code_of_error(int code)
{
    switch (code) {
    case CUBBY_ENOTFOUND_CMD:
        return EXIT_NOT_FOUND;
    case CUBBY_ENOTEXEC_CMD:
        return EXIT_NOT_EXEC;
    default:
        return EXIT_CUBBY;
    }
}

/* Limits that the command ran into, whatever became of it: it may not tell itself why it failed. */
static void tell_limits(const struct run_settings *s, const struct cubby_result *r)
{
    const char *who = r->how == CUBBY_OOM_KILLED ? "the command" : "a process of the command";
    if (r->flags & CUBBY_HIT_MEMORY_LIMIT)
        complain(0, "%s was killed: it reached its --memory-limit of %" PRIu64 " MiB", who,
                 s->memory_limit_mib);
    else if (r->flags & CUBBY_HIT_OOM || r->how == CUBBY_OOM_KILLED)
        complain(0, "%s was killed: the box ran out of memory; try more with --memory", who);
    if (r->flags & CUBBY_HIT_PIDS_LIMIT)
        complain(0, "the command reached its --pids-limit of %" PRIu64 ": it could not start more processes",
                 s->pids_limit);
}

static int code_of_result(const struct run_settings *s, const struct cubby_result *r)
{
    tell_limits(s, r);
    if (r->how == CUBBY_TIMED_OUT)
        return complain(EXIT_TIMED_OUT, "the command was ended: it took longer than its --timeout");
    return r->exit_code < 0 ? EXIT_SIGNAL - r->exit_code : r->exit_code;
}

/* The console's last lines tell why a guest did not boot, or crashed. */
static void show_console(struct cubby_box *box)
{
    char text[4096];
    size_t len = cubby_box_console(box, text, sizeof(text));
    while (len > 0 && text[len - 1] == '\n')
        text[--len] = '\0';
    if (len == 0)
        return;
    const char *from = text + len;
    for (int lines = 0; from > text; from--) {
        if (from[-1] == '\n' && ++lines == CONSOLE_LINES)
            break;
    }
    fprintf(stderr, "cubby: the last lines of the box's console:\n");
    for (const char *line = from; *line;) {
        size_t n = strcspn(line, "\n");
        fprintf(stderr, "  | %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}

static int told(struct run *r, const struct cubby_error *e)
{
    if (r->session.aborted_by)
        return EXIT_SIGNAL + r->session.aborted_by;
    bool mistaken = r->image && !r->box && !strpbrk(r->image, "/:@") &&
                    (e->code == CUBBY_EIMAGE_NOT_FOUND || e->code == CUBBY_EIMAGE);
    int code = complain(code_of_error(e->code), "%s", e->message);
    if (mistaken)
        complain(
            code,
            "'%s' was taken for an image; a command of the default image comes behind '--': cubby run -- %s",
            r->image, r->image);
    if (r->box && (e->code == CUBBY_EBOOT || e->code == CUBBY_EGUEST_LOST))
        show_console(r->box);
    return code;
}

/* ---- the run
 * ----------------------------------------------------------------------------------------------*/

/* The box of an image, which is brought first if it has to be; how that goes is told meanwhile. */
static int create_box_of_image(struct run *r, const struct cubby_box_options *options, struct cubby_error *e)
{
    const struct run_settings *s = r->settings;
    struct cubby_box_options o = *options;
    struct pull_view view;
    const struct cubby_images_options where = {.size = sizeof(where),
                                               .insecure_registries = (const char *const *)s->insecure.words};
    const struct cubby_pull_options pull = {
        .size = sizeof(pull),
        .platform = s->platform,
        .policy = s->pull,
        .progress = pull_view_progress,
        .context = &view,
    };
    int ret = cubby_images_open(&r->images, &where, e);
    if (ret < 0)
        return ret;
    o.image = r->image;
    o.images = r->images;
    o.pull = &pull;
    pull_view_init(&view, stderr, r->image, s->quiet);
    ret = cubby_box_create(&r->box, &o, e);
    pull_view_fini(&view, false);
    return ret;
}

static int create_box(struct run *r, struct cubby_error *e)
{
    const struct run_settings *s = r->settings;
    struct cubby_box_options o = {
        .size = sizeof(o),
        .assets = s->assets,
        .kernel = s->kernel,
        .rootfs = s->rootfs,
        .cpus = (unsigned)s->cpus,
        .memory_mib = (unsigned)s->memory_mib,
        .disk_mib = (unsigned)s->disk_mib,
        .boot_timeout_ms = (unsigned)s->boot_timeout_ms,
        .cancel_fd = r->session.signal_fd,
    };
    if (s->timeline)
        o.flags |= CUBBY_BOX_TIMELINE;
    if (s->verbose)
        o.flags |= CUBBY_BOX_LOG;
    int ret = r->image ? create_box_of_image(r, &o, e) : cubby_box_create(&r->box, &o, e);
    return ret < 0 ? ret : cubby_box_start(r->box, e);
}

static int start_exec(struct run *r, struct cubby_error *e)
{
    const struct run_settings *s = r->settings;
    struct cubby_exec_options o = {
        .size = sizeof(o),
        .argv = (const char *const *)r->command,
        .env = (const char *const *)r->env.vars,
        .workdir = s->workdir,
        .user = s->user,
        .timeout_ms = s->timeout_ms,
        .memory_limit_mib = (unsigned)s->memory_limit_mib,
        .pids_limit = (unsigned)s->pids_limit,
        .cpu_limit_milli = (unsigned)s->cpu_limit_milli,
        .rlimits = r->ulimits.limits,
        .rlimit_count = r->ulimits.count,
    };
    /* One word, as with Docker; an empty one takes the image's away. */
    const char *const entrypoint[] = {s->entrypoint && s->entrypoint[0] ? s->entrypoint : NULL, NULL};
    if (r->image)
        o.flags |= CUBBY_EXEC_IMAGE;
    if (s->entrypoint)
        o.entrypoint = entrypoint;
    if (s->interactive)
        o.flags |= CUBBY_EXEC_STDIN;
    if (s->tty)
        o.flags |= CUBBY_EXEC_TTY;
    terminal_size(STDIN_FILENO, &o.rows, &o.cols);
    return cubby_exec_start(&r->session.exec, r->box, &o, e);
}

static int failure_of_stream(const struct session *s)
{
    int error = s->out.error ? s->out.error : s->err.error;
    return error ? complain(EXIT_CUBBY, "cannot write to %s: %s", s->out.error ? "stdout" : "stderr",
                            strerror(error))
                 : 0;
}

/* The box lives inside this function's call. */
static int run_in_box(struct run *r)
{
    struct cubby_error e;
    struct cubby_result result = {.size = sizeof(result)};
    struct session *s = &r->session;
    int ret = create_box(r, &e);
    if (ret == CUBBY_ESTOPPED)
        session_interrupted(s); /* it was given up because a signal waits */
    if (ret == 0)
        ret = start_exec(r, &e);
    if (ret < 0)
        return told(r, &e);
    if (s->tty && s->interactive)
        terminal_make_raw(&s->terminal, STDIN_FILENO);
    session_run(s);
    terminal_restore(&s->terminal);
    if (s->aborted_by)
        return EXIT_SIGNAL + s->aborted_by;
    if (cubby_exec_wait(s->exec, 0, &result, &e) < 0)
        return told(r, &e);
    int code = failure_of_stream(s);
    return code ? code : code_of_result(r->settings, &result);
}

static int show_timeline(struct run *r, int code)
{
    struct cubby_error e;
    char why[USAGE_TEXT_MAX];
    if (!r->box || !r->settings->timeline || r->session.aborted_by)
        return code;
    cubby_box_stop(r->box, 0, &e); /* the VMM writes its part as it ends */
    if (timeline_show(r->box, r->settings->timeline, why) < 0)
        return complain(EXIT_CUBBY, "%s", why);
    return code;
}

/* What the command gets beside its words: variables and limits. */
static int fill_lists(struct run *r, char why[USAGE_TEXT_MAX])
{
    const struct run_settings *s = r->settings;
    for (size_t i = 0; i < s->env_files.count; i++) {
        if (environment_add_file(&r->env, s->env_files.words[i], why) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->env.count; i++) {
        if (environment_add(&r->env, s->env.words[i], why) < 0)
            return -1;
    }
    for (size_t i = 0; i < s->ulimits.count; i++) {
        if (ulimits_add(&r->ulimits, s->ulimits.words[i], why) < 0)
            return -1;
    }
    return 0;
}

/* What the parser cannot know, about the box. NULL, or what is wrong. */
static const char *check_image(const struct run_settings *s, const char *image, char **command)
{
    if (!image && !command[0])
        return "no image and no command, as in: cubby run python:slim, or: cubby run -- uname -a";
    if (image && s->rootfs)
        return "an image and --rootfs exclude each other; with --rootfs the command comes behind '--'";
    if (!image && (s->entrypoint || s->platform || s->pull || s->insecure.count))
        return "--entrypoint, --platform, --pull and --insecure-registry need an image, as in: cubby run "
               "python:slim";
    return NULL;
}

static const char *check(const struct run_settings *s, const char *image, char **command)
{
    const char *problem = check_image(s, image, command);
    uint64_t memory_mib = s->memory_mib ? s->memory_mib : CUBBY_MEMORY_MIB_DEFAULT;
    if (!problem && s->memory_limit_mib > memory_mib)
        problem = "--memory-limit is more than the box has; give it more with --memory";
    if (!problem && s->workdir && s->workdir[0] != '/')
        problem = "--workdir must start with '/'";
    if (!problem && s->tty && s->interactive && !isatty(STDIN_FILENO))
        problem = "--tty with --interactive needs a terminal as stdin; leave --tty out";
    return problem;
}

static int run_run(const void *settings, char **words, char **command)
{
    const struct run_settings *s = settings;
    char why[USAGE_TEXT_MAX];
    static struct run r; /* its buffers are large for a stack; a process runs once */
    r = (struct run){.settings = s, .image = words[0], .command = command};
    r.session.signal_fd = -1;
    r.session.interactive = s->interactive;
    r.session.tty = s->tty;
    const char *problem = check(s, r.image, command);
    if (!problem && fill_lists(&r, why) < 0)
        problem = why;
    if (problem) {
        environment_fini(&r.env);
        return complain(EXIT_CUBBY, "run: %s; see 'cubby run --help'", problem);
    }
    if (s->verbose)
        setenv("CUBBY_LOG", "info", 0);
    int code =
        session_catch_signals(&r.session) < 0 ? complain(EXIT_CUBBY, "cannot watch signals") : run_in_box(&r);
    cubby_exec_free(r.session.exec);
    code = show_timeline(&r, code);
    cubby_box_destroy(r.box);
    cubby_images_close(r.images);
    session_fini(&r.session);
    environment_fini(&r.env);
    return code;
}

/* ---- the table
 * --------------------------------------------------------------------------------------------*/

#define AT(member) offsetof(struct run_settings, member)

static const struct opt run_options[] = {
    {"memory", 'm', OPT_MEMORY, "SIZE", "memory of the box: 512M (as by default), 2G; from 32M",
     AT(memory_mib), CUBBY_MEMORY_MIB_MIN, CUBBY_MEMORY_MIB_MAX},
    {"cpus", 0, OPT_NUMBER, "N", "CPUs of the box: 1 (as by default) to 64", AT(cpus), 1, CUBBY_CPUS_MAX},
    {"disk", 0, OPT_MEMORY, "SIZE",
     "room on a disk for what the command writes: 10G; takes up only what was\n"
     "written, and is gone afterwards. Without it, it is kept in memory",
     AT(disk_mib), CUBBY_DISK_MIB_MIN, CUBBY_DISK_MIB_MAX},
    {"timeout", 0, OPT_DURATION, "TIME",
     "end the command after 10s, 2m, 1h…: SIGTERM, and SIGKILL 2 s later\n"
     "to all its processes; exit code 124",
     AT(timeout_ms), 0, 0},
    {"memory-limit", 0, OPT_MEMORY, "SIZE",
     "memory of the command's processes together, within the box's: what\n"
     "needs more is killed, with exit code 137",
     AT(memory_limit_mib), 1, CUBBY_MEMORY_MIB_MAX},
    {"cpu-limit", 0, OPT_PARTS, "N", "CPU time of them: 0.5 is half of one CPU", AT(cpu_limit_milli),
     CUBBY_CPU_LIMIT_MILLI_MIN, CUBBY_CPU_LIMIT_MILLI_MAX},
    {"pids-limit", 0, OPT_NUMBER, "N", "how many processes and threads the command may have at once",
     AT(pids_limit), 1, CUBBY_PIDS_LIMIT_MAX},
    {"ulimit", 0, OPT_LIST, "NAME=SOFT[:HARD]",
     "limit of each process: nofile=1024:2048, core=0, stack=unlimited…; may\n"
     "be repeated",
     AT(ulimits), 0, 0},
    {"env", 'e', OPT_LIST, "NAME=VALUE", "set a variable for the command; NAME alone: as it is here", AT(env),
     0, 0},
    {"env-file", 0, OPT_LIST, "FILE", "set those of a file, one on a line", AT(env_files), 0, 0},
    {"workdir", 'w', OPT_STRING, "DIR", "folder in the box to run the command in (the image's, or /)",
     AT(workdir), 0, 0},
    {"user", 'u', OPT_STRING, "USER[:GROUP]", "user in the box, by name or number (the image's, or root)",
     AT(user), 0, 0},
    {"rootfs", 0, OPT_STRING, "PATH",
     "files of the box, in place of IMAGE: a folder, or an ext4 file; it is\n"
     "not changed. With neither: an image with busybox",
     AT(rootfs), 0, 0},
    {"entrypoint", 0, OPT_TEXT, "COMMAND", "run this in place of the image's entrypoint; '': none",
     AT(entrypoint), 0, 0},
    {"pull", 0, OPT_CHOICE, PULL_POLICIES, "when to ask the registry (missing)", AT(pull), 0, 0},
    {"platform", 0, OPT_STRING, "OS/ARCH", "of which platform the image is to be (this host's)", AT(platform),
     0, 0},
    {"insecure-registry", 0, OPT_LIST, "HOST", "speak plain http to HOST or HOST:PORT; may be repeated",
     AT(insecure), 0, 0},
    {"quiet", 'q', OPT_FLAG, NULL, "do not tell how a pull goes", AT(quiet), 0, 0},
    {"interactive", 'i', OPT_FLAG, NULL, "pass our stdin on; otherwise the command's is empty",
     AT(interactive), 0, 0},
    {"tty", 't', OPT_FLAG, NULL, "give the command a terminal; with -i for a shell: -it", AT(tty), 0, 0},
    {"kernel", 0, OPT_STRING, "FILE", "a Linux kernel of your own (vmlinux or bzImage)", AT(kernel), 0, 0},
    {"assets", 0, OPT_STRING, "DIR", "folder with cubby-vmm, vmlinux, initrd.cpio, default.ext4", AT(assets),
     0, 0},
    {"boot-timeout", 0, OPT_DURATION, "TIME", "how long the box may take to boot (60s)", AT(boot_timeout_ms),
     0, 0},
    {"timeline", 0, OPT_STRING, "FILE",
     "write when each boundary was passed, as JSON;\n'-': as a table on stderr", AT(timeline), 0, 0},
    {"verbose", 'v', OPT_FLAG, NULL, "tell on stderr what happens; CUBBY_LOG=debug tells more", AT(verbose),
     0, 0},
    {0},
};

static const char *const run_examples[] = {
    "cubby run python:slim python -c 'print(2+2)'",
    "runs a command in a box of an image, which is pulled when it is not there",
    "cubby run -- uname -a",
    "in a box of the default image",
    "cubby run --timeout 10s --memory 1G -- sh -c 'make test'",
    "with more memory, and at most ten seconds",
    "tar c src | cubby run -i -- tar t",
    "passes stdin through; stdout and stderr come back apart, byte for byte",
    "cubby run --rootfs ./tree --user nobody -- /bin/app",
    "runs on the files of a folder, which stay as they are",
    "cubby run -it debian:stable bash",
    "a shell in a box",
    NULL,
};

const struct verb verb_run = {
    .name = "run",
    .summary = "runs a command in a new box",
    .usage = "[OPTION…] [IMAGE] [--] [COMMAND [ARGUMENT…]]",
    .description =
        "Starts a virtual machine, runs COMMAND in it, and removes it. What stands behind IMAGE is the\n"
        "command, as with 'docker run': words for the image's entrypoint, or else the image's own command.\n"
        "stdout, stderr and the exit code are COMMAND's own; 128+N when signal N ended it; 124 out of\n"
        "time; 125 cubby itself failed; 126 COMMAND cannot be executed; 127 it was not found. Signals are\n"
        "passed on; a second Ctrl-C ends the box at once.",
    .options = run_options,
    .examples = run_examples,
    .settings_size = sizeof(struct run_settings),
    .command_follows = true,
    .run = run_run,
};
