/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: as high as possible, so that it is in nobody's way: a bzImage unpacks itself upwards
 * from its load address, and Linux takes its first memory from below.
 */
#include "vmm/arch/x86/initrd.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>

static int too_large(const struct boot_file *f, const struct gmem *m, gpa_t kernel_end, gpa_t limit,
                     struct err *e)
{
    uint64_t have = layout_mib_for(layout_low_ram_end(m));
    if (f->size > limit || layout_page_up(f->size) > limit - kernel_end)
        return err_set(e, -ENOMEM,
                       "initrd '%s' of %" PRIu64
                       " MiB is too large: it and the kernel must lie below %" PRIu64 " MiB",
                       f->path, layout_mib_for(f->size), limit / LAYOUT_MIB);
    return err_set(e, -ENOMEM,
                   "initrd '%s' does not fit into memory beside the kernel: at least %" PRIu64
                   " MiB are needed, there are %" PRIu64,
                   f->path, layout_mib_for(kernel_end + layout_page_up(f->size)), have);
}

int initrd_load(const struct boot_file *f, struct gmem *m, const struct kernel_image *k, struct initrd *out,
                struct err *e)
{
    gpa_t floor = layout_page_up(k->end);
    gpa_t limit = layout_page_down(k->initrd_end_max);
    gpa_t end = layout_low_ram_end(m) < limit ? layout_low_ram_end(m) : limit;
    if (f->size > LAYOUT_HOLE_START || floor > end || layout_page_up(f->size) > end - floor)
        return too_large(f, m, floor, limit > floor ? limit : floor, e);
    *out = (struct initrd){.start = end - layout_page_up(f->size), .size = f->size};
    struct boot_piece all = {.offset = 0, .len = f->size, .gpa = out->start};
    return boot_file_load(f, m, &all, e);
}
