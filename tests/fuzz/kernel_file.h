/* SPDX-License-Identifier: Apache-2.0 */
/* One input as a kernel file, and what must hold whatever is in it. */
#ifndef CUBBY_TESTS_FUZZ_KERNEL_FILE_H
#define CUBBY_TESTS_FUZZ_KERNEL_FILE_H

#include "base/io.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/loader.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static inline void must(bool holds)
{
    if (!holds)
        abort();
}

static inline void check_loaded(const struct gmem *m, const struct kernel_image *k)
{
    must(k->start >= LAYOUT_KERNEL_MIN && k->start < k->end && k->end <= layout_low_ram_end(m));
    must(k->entry >= k->start && k->entry < k->end);
    must(k->cmdline_max < LAYOUT_CMDLINE_MAX);
    /* Our tables' place was not touched. */
    const uint8_t *low = gmem_ptr(m, 0, LAYOUT_CMDLINE);
    must(low[0] == 0 && memcmp(low, low + 1, LAYOUT_CMDLINE - 1) == 0);
}

static inline void load_as_kernel(const uint8_t *data, size_t len, enum boot_protocol protocol, bool map)
{
    struct gmem m = {0};
    struct boot_file f;
    struct kernel_image k;
    struct err e = {0};
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    must(fd >= 0 && write_full(fd, data, len) == 0);
    must(layout_add_ram(&m, 32, NULL) == 0);
    int ret = boot_file_init(&f, "kernel", "input", fd, map, &e);
    if (ret == 0)
        ret = kernel_load(&f, &m, protocol, &k, &e);
    if (ret == 0)
        check_loaded(&m, &k);
    else
        must(ret == e.code && strstr(e.text, "kernel 'input'"));
    gmem_fini(&m);
    close(fd);
}

#endif
