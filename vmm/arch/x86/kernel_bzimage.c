/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the file is a real-mode part of (setup_sects + 1) sectors, which we only read the
 * setup header of, and a protected-mode part: a decompressor with the kernel packed inside. The latter is
 * copied to pref_address and entered 0x200 bytes in; it unpacks the kernel in place, for which it needs
 * init_size bytes from there. It may move the kernel to a random place (KASLR); boot_params, command line,
 * initrd and setup_data are then left alone by it.
 */
#include "vmm/arch/x86/kernel_bzimage.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define SECTOR          512
#define BOOT_FLAG       0xaa55
#define HEADER_MAGIC    0x53726448 /* "HdrS" */
#define VERSION_MIN     0x020c     /* 2.12 brought xloadflags */
#define SETUP_SECTS_OLD 4          /* what 0 means */
#define ALIGNMENT_MAX   (UINT32_C(1) << 30)
#define SYSSIZE_UNIT    16
#define SETUP_END_BASE  0x202 /* the header ends at this offset + the byte at 0x201 */

_Static_assert(offsetof(struct boot_params, hdr) == BZIMAGE_SETUP_OFFSET &&
                   BZIMAGE_SETUP_OFFSET + offsetof(struct setup_header, header) == BZIMAGE_MAGIC_OFFSET &&
                   BZIMAGE_SETUP_OFFSET + sizeof(struct setup_header) <= BZIMAGE_HEAD,
               "boot.rst, \"The Real-Mode Kernel Header\"");

bool kernel_bzimage_detect(const uint8_t *head, size_t len)
{
    return len >= BZIMAGE_MAGIC_OFFSET + 4 && memcmp(head + BZIMAGE_MAGIC_OFFSET, "HdrS", 4) == 0;
}

/* The header as long as the file says it is (boot.rst: "the end of setup header can be calculated"); fields
 * that an older kernel does not have are zeros. */
static int read_setup(const struct boot_file *f, struct setup_header *s, struct err *e)
{
    uint8_t head[BZIMAGE_HEAD];
    int ret = boot_file_read(f, 0, head, sizeof(head), e);
    if (ret < 0)
        return ret;
    size_t len = SETUP_END_BASE + (size_t)head[0x201] - BZIMAGE_SETUP_OFFSET;
    memset(s, 0, sizeof(*s));
    memcpy(s, head + BZIMAGE_SETUP_OFFSET, len < sizeof(*s) ? len : sizeof(*s));
    return 0;
}

static int check_setup(const struct boot_file *f, const struct setup_header *s, struct err *e)
{
    if (s->boot_flag != BOOT_FLAG || s->header != HEADER_MAGIC)
        return err_set(e, -ENOEXEC, "kernel '%s' has a damaged bzImage header", f->path);
    if (s->version < VERSION_MIN)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' speaks version %u.%u of the boot protocol; 2.12 (Linux 3.8) is needed",
                       f->path, s->version >> 8, s->version & 0xff);
    if (!(s->xloadflags & XLF_KERNEL_64))
        return err_set(e, -ENOEXEC, "kernel '%s' is a 32-bit bzImage; only 64-bit kernels are booted",
                       f->path);
    if (!(s->loadflags & LOADED_HIGH))
        return err_set(e, -ENOEXEC, "kernel '%s' wants to be loaded below 1 MiB (a zImage)", f->path);
    if (!s->relocatable_kernel)
        return err_set(e, -ENOEXEC, "kernel '%s' was built without CONFIG_RELOCATABLE", f->path);
    if (s->kernel_alignment & (s->kernel_alignment - 1) || s->kernel_alignment > ALIGNMENT_MAX ||
        s->kernel_alignment < LAYOUT_PAGE)
        return err_set(e, -ENOEXEC, "kernel '%s' wants an alignment of 0x%x, which makes no sense", f->path,
                       s->kernel_alignment);
    return 0;
}

/* Where in the file the protected-mode part is; `gpa` stays to be chosen. */
static int find_code(const struct boot_file *f, const struct setup_header *s, struct boot_piece *p,
                     struct err *e)
{
    unsigned sectors = (s->setup_sects ? s->setup_sects : SETUP_SECTS_OLD) + 1;
    p->offset = (uint64_t)sectors * SECTOR;
    p->len = (uint64_t)s->syssize * SYSSIZE_UNIT;
    uint64_t there = f->size > p->offset ? f->size - p->offset : 0;
    /* syssize is rounded up; what stands behind it (a signature for UEFI) is not part of the kernel. */
    if (there + SYSSIZE_UNIT <= p->len)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' is cut short: it has %" PRIu64 " bytes, its header speaks of %" PRIu64,
                       f->path, f->size, p->offset + p->len);
    if (there < p->len)
        p->len = there;
    if (p->len <= BZIMAGE_ENTRY64)
        return err_set(e, -ENOEXEC, "kernel '%s' is a bzImage without code", f->path);
    return 0;
}

/* Chooses the load address; the kernel then occupies [out->start, out->end). */
static int place(const struct boot_file *f, const struct gmem *m, uint64_t code_len, struct kernel_image *out,
                 struct err *e)
{
    const struct setup_header *s = &out->setup;
    uint64_t size = s->init_size > code_len ? s->init_size : code_len;
    if (s->pref_address < LAYOUT_KERNEL_MIN || s->pref_address >= LAYOUT_HOLE_START)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' wants to be loaded at 0x%" PRIx64 ", not between 1 MiB and 3 GiB",
                       f->path, (uint64_t)s->pref_address);
    uint64_t mask = s->kernel_alignment - UINT64_C(1);
    out->start = (s->pref_address + mask) & ~mask;
    out->end = out->start + layout_page_up(size);
    if (out->end > LAYOUT_HOLE_START)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' needs 0x%" PRIx64 " bytes from 0x%" PRIx64
                       " to unpack itself, which do not "
                       "lie below 3 GiB",
                       f->path, size, out->start);
    if (out->end > layout_low_ram_end(m))
        return err_set(e, -ENOMEM,
                       "kernel '%s' does not fit into memory: at least %" PRIu64 " MiB are needed, there are "
                       "%" PRIu64,
                       f->path, layout_mib_for(out->end), layout_mib_for(layout_low_ram_end(m)));
    return 0;
}

int kernel_bzimage_load(const struct boot_file *f, struct gmem *m, struct kernel_image *out, struct err *e)
{
    struct boot_piece code;
    *out = (struct kernel_image){.kind = KERNEL_LINUX64};
    int ret = read_setup(f, &out->setup, e);
    if (ret == 0)
        ret = check_setup(f, &out->setup, e);
    if (ret == 0)
        ret = find_code(f, &out->setup, &code, e);
    if (ret == 0)
        ret = place(f, m, code.len, out, e);
    if (ret < 0)
        return ret;
    code.gpa = out->start;
    out->entry = out->start + BZIMAGE_ENTRY64;
    out->initrd_end_max = (gpa_t)out->setup.initrd_addr_max + 1;
    out->cmdline_max = out->setup.cmdline_size < LAYOUT_CMDLINE_MAX ? out->setup.cmdline_size
                                                                    : (uint32_t)LAYOUT_CMDLINE_MAX - 1;
    /* It unpacks over itself: a mapping would be copied anyway, one fault at a time. */
    struct boot_file copied = *f;
    copied.map = false;
    return boot_file_load(&copied, m, &code, e);
}
