/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm.h"
#include "vmm/probe.h"

#include <string.h>

int main(int argc, char **argv)
{
    struct probe p;
    if (argc < 2 || strcmp(argv[1], "--probe") != 0)
        return 2;
    probe_run(&p, KVM_DEVICE);
    if (argc > 2 && strcmp(argv[2], "--json") == 0)
        probe_print_json(&p, stdout);
    else
        probe_print(&p, stdout);
    return probe_usable(&p) ? 0 : 1;
}
