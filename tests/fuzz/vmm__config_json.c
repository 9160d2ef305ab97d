/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a VM's configuration: refused with a reason, or understood and checked. */
#include "vmm/config_json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vm_config c;
    struct err e = {0};
    config_init(&c);
    int r = config_parse_json(&c, (const char *)data, size, &e);
    if (r < 0 && (e.code != r || !e.text[0]))
        abort();
    if (c.ndisks > VM_DISKS_MAX)
        abort();
    for (unsigned i = 0; i < c.ndisks; i++) {
        if (!c.disk[i].path || (c.disk[i].root && i != 0))
            abort();
    }
    if (r == 0 && config_check(&c, &e) == 0) {
        char *line = config_cmdline(&c);
        if (!line || c.cpus < 1 || c.cpus > VM_CPUS_MAX || c.memory_mib < VM_MEMORY_MIN_MIB)
            abort();
        free(line);
    }
    config_fini(&c);
    return 0;
}
