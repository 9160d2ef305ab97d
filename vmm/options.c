/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one table has each option's name, its argument, its words for --help and what it does,
 * so that none of them can be forgotten. The command line is read twice: first for --config alone, so that
 * flags override the file wherever they stand.
 */
#include "vmm/options.h"
#include "base/own.h"
#include "vmm/config_json.h"
#include "vmm/end.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

typedef int option_fn(struct options *o, const char *name, const char *value, struct err *e);

struct option_spec {
    const char *name;
    const char *value; /* what --help calls it; NULL: a flag */
    const char *help;  /* a line feed starts a further line */
    option_fn *fn;
};

static int set_string(char **field, const char *name, const char *value, struct err *e)
{
    if (!*value)
        return err_set(e, -EINVAL, "--%s: an empty value", name);
    return config_set(field, value) ? err_set(e, -ENOMEM, "--%s: no memory", name) : 0;
}

/* A decimal number and nothing else. */
static int parse_number(const char *name, const char *value, uint64_t max, uint64_t *out, struct err *e)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || n > max)
        return err_set(e, -EINVAL, "--%s: '%s' is not a number from 0 to %llu", name, value,
                       (unsigned long long)max);
    *out = n;
    return 0;
}

static int parse_unsigned(const char *name, const char *value, unsigned *out, struct err *e)
{
    uint64_t n = 0;
    int r = parse_number(name, value, INT_MAX, &n, e);
    *out = (unsigned)n;
    return r;
}

static int opt_kernel(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.kernel, name, value, e);
}

static int opt_initrd(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.initrd, name, value, e);
}

static int opt_cmdline(struct options *o, const char *name, const char *value, struct err *e)
{
    return config_set(&o->config.cmdline, value) ? err_set(e, -ENOMEM, "--%s: no memory", name) : 0;
}

static int opt_boot(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.boot, name, value, e);
}

static int opt_cpus(struct options *o, const char *name, const char *value, struct err *e)
{
    return parse_unsigned(name, value, &o->config.cpus, e);
}

static int opt_memory(struct options *o, const char *name, const char *value, struct err *e)
{
    return parse_number(name, value, UINT32_MAX, &o->config.memory_mib, e);
}

/* PATH[,ro][,serial=S] */
static int opt_disk(struct options *o, const char *name, const char *value, struct err *e)
{
    CLEANUP(mem_freep) char *copy = strdup(value);
    if (!copy)
        return err_set(e, -ENOMEM, "--%s: no memory", name);
    const char *serial = NULL;
    bool read_only = false;
    char *rest = copy;
    const char *path = strsep(&rest, ",");
    for (const char *word = strsep(&rest, ","); word; word = strsep(&rest, ",")) {
        if (strcmp(word, "ro") == 0)
            read_only = true;
        else if (strncmp(word, "serial=", 7) == 0)
            serial = word + 7;
        else
            return err_set(
                e, -EINVAL,
                "--%s: '%s' in '%s' is not known: use ,ro or ,serial=S (a path with a comma needs --config)",
                name, word, value);
    }
    if (!*path)
        return err_set(e, -EINVAL, "--%s: '%s' has no path", name, value);
    return config_add_disk(&o->config, path, serial, read_only, false, e);
}

/* PATH[,cid=N] */
static int opt_vsock(struct options *o, const char *name, const char *value, struct err *e)
{
    CLEANUP(mem_freep) char *copy = strdup(value);
    if (!copy)
        return err_set(e, -ENOMEM, "--%s: no memory", name);
    char *cid = strstr(copy, ",cid=");
    if (cid) {
        *cid = '\0';
        int r = parse_number(name, cid + 5, UINT32_MAX, &o->config.vsock_cid, e);
        if (r)
            return r;
    }
    return set_string(&o->config.vsock_path, name, copy, e);
}

static int opt_console(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.console, name, value, e);
}

static int opt_console_ports(struct options *o, const char *name, const char *value, struct err *e)
{
    return parse_unsigned(name, value, &o->config.console_ports, e);
}

static int opt_serial(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)name, (void)value, (void)e;
    o->config.serial = true;
    return 0;
}

static int opt_timeline(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.timeline, name, value, e);
}

static int opt_events(struct options *o, const char *name, const char *value, struct err *e)
{
    return set_string(&o->config.events, name, value, e);
}

static int opt_die_with(struct options *o, const char *name, const char *value, struct err *e)
{
    unsigned fd = 0;
    int r = parse_unsigned(name, value, &fd, e);
    o->config.die_with = (int)fd;
    return r;
}

/* The first reading's business. */
static int opt_config(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)o, (void)name, (void)value, (void)e;
    return 0;
}

static int opt_probe(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)name, (void)value, (void)e;
    o->action = ACTION_PROBE;
    return 0;
}

static int opt_json(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)name, (void)value, (void)e;
    o->json = true;
    return 0;
}

static int opt_version(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)name, (void)value, (void)e;
    o->action = ACTION_VERSION;
    return 0;
}

static int opt_help(struct options *o, const char *name, const char *value, struct err *e)
{
    (void)name, (void)value, (void)e;
    o->action = ACTION_HELP;
    return 0;
}

static const struct option_spec specs[] = {
    {"kernel", "FILE", "kernel to boot: vmlinux, bzImage, or an ELF file with a PVH entry", opt_kernel},
    {"initrd", "FILE", "initial RAM disk", opt_initrd},
    {"cmdline", "WORDS", "the kernel's command line, in place of\n'" VM_CMDLINE_DEFAULT "'", opt_cmdline},
    {"boot", "PROTOCOL", "auto (default), linux (64-bit entry) or pvh", opt_boot},
    {"cpus", "N", "virtual CPUs, 1 to 64 (1)", opt_cpus},
    {"memory", "MIB", "guest memory in MiB, at least 32 (256)", opt_memory},
    {"disk", "FILE[,ro][,serial=S]", "a disk: a raw image or a block device; may be repeated", opt_disk},
    {"vsock", "PATH[,cid=N]", "a vsock device behind a Unix socket at PATH", opt_vsock},
    {"console", "FILE|-", "where the guest's console goes; -: this terminal\n(Ctrl-] stops the VM)",
     opt_console},
    {"console-ports", "N", "console ports, 1 to 3 (1); further ones are written to FILE.1, FILE.2",
     opt_console_ports},
    {"serial", NULL, "a serial port at 0x3f8, to stderr, for early kernel messages", opt_serial},
    {"timeline", "FILE", "write when each boundary was passed, and the count of exits, as JSON",
     opt_timeline},
    {"events", "FD|FILE", "write a line of JSON for each event of the VM's life", opt_events},
    {"die-with", "FD", "stop the VM when this descriptor reaches its end of file", opt_die_with},
    {"config", "FILE", "read a JSON file first; flags override it", opt_config},
    {"probe", NULL, "find out whether this host can run guests, and stop; exit code 0 or 1", opt_probe},
    {"json", NULL, "with --probe: the answer as JSON", opt_json},
    {"version", NULL, "print the version", opt_version},
    {"help", NULL, "print this text", opt_help},
};

#define NSPECS ARRAY_LEN(specs)

void options_help(FILE *to)
{
    fputs("Usage: cubby-vmm --kernel FILE [OPTION...]\n"
          "Runs a virtual machine until its guest powers off.\n\n",
          to);
    for (size_t i = 0; i < NSPECS; i++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", specs[i].name, specs[i].value ? " " : "",
                 specs[i].value ? specs[i].value : "");
        fprintf(to, "  %-28s ", left);
        for (const char *p = specs[i].help; *p; p++)
            *p == '\n' ? fprintf(to, "\n%31s", "") : fputc(*p, to);
        fputc('\n', to);
    }
    fprintf(to,
            "\nExit code: 0 the guest powered off or rebooted, or the VM was stopped (SIGTERM, SIGINT);\n"
            "%d kernel panic; %d its init failed; %d triple fault; %d, %d KVM could not go on;\n"
            "%d the host failed; %d the VM could not be started.\n"
            "Log: CUBBY_LOG=debug, or by topic: "
            "CUBBY_LOG=vmm=debug,virtio=info,vsock=info,blk=info,console=info\n",
            END_EXIT_PANIC, END_EXIT_INIT_FAILED, END_EXIT_TRIPLE_FAULT, END_EXIT_INTERNAL_ERROR,
            END_EXIT_VCPU_ERROR, END_EXIT_HOST_ERROR, END_EXIT_SETUP);
}

/* One reading of the command line: calls fn(…) of each option, or only takes note of --config. */
static int read_all(struct options *o, int argc, char **argv, const char **config_path, struct err *e)
{
    struct option longs[NSPECS + 1] = {0};
    for (size_t i = 0; i < NSPECS; i++)
        longs[i] = (struct option){specs[i].name, specs[i].value ? required_argument : no_argument, NULL,
                                   (int)i + 256};
    optind = 0; /* GNU: from the start again */
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1;
        int c = getopt_long(argc, argv, "+:h", longs, NULL);
        if (c == -1)
            break;
        if (c == 'h')
            c = 256 + (int)NSPECS - 1; /* --help, the last one */
        if (c == ':')
            return err_set(e, -EINVAL, "%s needs a value; see --help", argv[at]);
        if (c < 256)
            return err_set(e, -EINVAL, "unknown or ambiguous option '%s'; see --help", argv[at]);
        const struct option_spec *spec = &specs[c - 256];
        if (config_path) {
            if (spec->fn == opt_config)
                *config_path = optarg;
            continue;
        }
        int r = spec->fn(o, spec->name, optarg, e);
        if (r)
            return r;
    }
    if (optind < argc)
        return err_set(e, -EINVAL, "'%s' is not an option; see --help", argv[optind]);
    return 0;
}

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
    *o = (struct options){.action = ACTION_RUN};
    config_init(&o->config);
    const char *file = NULL;
    int r = read_all(o, argc, argv, &file, e);
    if (r == 0 && file)
        r = config_load_json(&o->config, file, e);
    if (r == 0)
        r = read_all(o, argc, argv, NULL, e);
    if (r == 0 && o->action == ACTION_RUN)
        r = config_check(&o->config, e);
    return r;
}

void options_fini(struct options *o)
{
    config_fini(&o->config);
}
