/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VM to make: filled by the command line (options.h) and a JSON file (config_json.h), checked once, then
 * only read. Owns its strings.
 */
#ifndef CUBBY_VMM_CONFIG_H
#define CUBBY_VMM_CONFIG_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define VM_CPUS_MAX          64
#define VM_MEMORY_MIN_MIB    32
#define VM_DISKS_MAX         16
#define VM_CPUS_DEFAULT      1
#define VM_MEMORY_DEFAULT    256 /* MiB */
#define VM_CONSOLE_PORTS_MAX 3

/*
 * The kernel's command line unless another is given. Why each word: the console is virtio's first port;
 * quiet, as each line of the log costs exits; a panic resets at once, and a reset is a triple fault, which is
 * the one way out of a machine without ACPI and keyboard controller.
 */
#define VM_CMDLINE_DEFAULT "console=hvc0 quiet panic=-1 reboot=t"

struct disk_config {
    char *path;
    char *serial; /* NULL: none */
    bool read_only;
    bool root; /* the first disk, and the kernel's root=; only from a file of Firecracker's form */
};

struct vm_config {
    char *kernel, *initrd; /* paths; initrd may be NULL */
    char *cmdline;         /* NULL: VM_CMDLINE_DEFAULT */
    char *boot;            /* boot protocol: "auto", "linux", "pvh"; NULL: auto */
    unsigned cpus;
    uint64_t memory_mib;
    unsigned ndisks;
    struct disk_config disk[VM_DISKS_MAX];
    char *vsock_path;   /* NULL: no vsock */
    uint64_t vsock_cid; /* 0: the default */
    char *console;      /* a path; "-": stdin and stdout; NULL: output is kept for error reports only */
    unsigned console_ports;
    bool serial;    /* a UART at COM1, to stderr */
    char *timeline; /* path; NULL: none */
    char *events;   /* a descriptor's number or a path; NULL: none */
    int die_with;   /* descriptor; -1: none */
};

/* The defaults, nothing allocated. */
void config_init(struct vm_config *c);
/* Frees the strings; safe on an initialised one, and twice. */
void config_fini(struct vm_config *c);

/* Replaces an owned string by a copy of `value`. 0 or -ENOMEM. */
int config_set(char **field, const char *value);

/* Adds a disk; a root disk comes first. The strings are copied. 0, -ENOSPC, -EINVAL (a second root), -ENOMEM.
 */
int config_add_disk(struct vm_config *c, const char *path, const char *serial, bool read_only, bool root,
                    struct err *e);

/* What can be checked without touching the host: 0, or -EINVAL with a text that names the value and its
 * range. */
int config_check(const struct vm_config *c, struct err *e);

/* The command line to boot with, root= included: a heap block of the caller's, NULL without memory. */
char *config_cmdline(const struct vm_config *c);

#endif
