/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: a plain struct with setters that copy; flags and files use the same, so both check the
 * same. */
#include "vmm/config.h"
#include "base/own.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void config_init(struct vm_config *c)
{
    *c = (struct vm_config){
        .cpus = VM_CPUS_DEFAULT,
        .memory_mib = VM_MEMORY_DEFAULT,
        .console_ports = 1,
        .die_with = -1,
    };
}

void config_fini(struct vm_config *c)
{
    for (unsigned i = 0; i < c->ndisks; i++) {
        free(c->disk[i].path);
        free(c->disk[i].serial);
    }
    free(c->kernel);
    free(c->initrd);
    free(c->cmdline);
    free(c->boot);
    free(c->vsock_path);
    free(c->console);
    free(c->timeline);
    free(c->events);
    config_init(c);
}

int config_set(char **field, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

int config_add_disk(struct vm_config *c, const char *path, const char *serial, bool read_only, bool root,
                    struct err *e)
{
    if (c->ndisks == VM_DISKS_MAX)
        return err_set(e, -ENOSPC, "disk '%s' is one too many: a VM has at most %d", path, VM_DISKS_MAX);
    if (root && c->ndisks > 0 && c->disk[0].root)
        return err_set(e, -EINVAL, "disk '%s' cannot be the root disk: '%s' is it already", path,
                       c->disk[0].path);
    CLEANUP(mem_freep) char *path_copy = strdup(path);
    CLEANUP(mem_freep) char *serial_copy = serial ? strdup(serial) : NULL;
    if (!path_copy || (serial && !serial_copy))
        return err_set(e, -ENOMEM, "no memory for the name of disk '%s'", path);

    unsigned at = root ? 0 : c->ndisks;
    memmove(&c->disk[at + 1], &c->disk[at], (c->ndisks - at) * sizeof(c->disk[0]));
    c->disk[at] = (struct disk_config){
        .path = STEAL(path_copy),
        .serial = STEAL(serial_copy),
        .read_only = read_only,
        .root = root,
    };
    c->ndisks++;
    return 0;
}

int config_check(const struct vm_config *c, struct err *e)
{
    if (!c->kernel)
        return err_set(e, -EINVAL,
                       "no kernel was given: use --kernel FILE, or kernel_image_path in --config");
    if (c->cpus < 1 || c->cpus > VM_CPUS_MAX)
        return err_set(e, -EINVAL, "%u vCPUs are not possible: choose 1 to %d", c->cpus, VM_CPUS_MAX);
    if (c->memory_mib < VM_MEMORY_MIN_MIB)
        return err_set(e, -EINVAL, "%llu MiB of memory are too little: a guest needs at least %d MiB",
                       (unsigned long long)c->memory_mib, VM_MEMORY_MIN_MIB);
    if (c->console_ports < 1 || c->console_ports > VM_CONSOLE_PORTS_MAX)
        return err_set(e, -EINVAL, "%u console ports are not possible: choose 1 to %d", c->console_ports,
                       VM_CONSOLE_PORTS_MAX);
    return 0;
}

char *config_cmdline(const struct vm_config *c)
{
    const char *base = c->cmdline ? c->cmdline : VM_CMDLINE_DEFAULT;
    bool root = c->ndisks > 0 && c->disk[0].root;
    char *line;
    int n = asprintf(&line, "%s%s", base,
                     !root                  ? ""
                     : c->disk[0].read_only ? " root=/dev/vda ro"
                                            : " root=/dev/vda rw");
    return n < 0 ? NULL : line;
}
