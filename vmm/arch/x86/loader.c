/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a kernel's kind is told by magic bytes, which is safe here: the user chose the file,
 * no guest ever writes to it, and each kind is checked in full afterwards. (Disks are never sniffed: a guest
 * writes them.) Files that people mistake for kernels are recognised only to say so.
 */
#include "vmm/arch/x86/loader.h"
#include "base/own.h"
#include "vmm/arch/x86/kernel_bzimage.h"
#include "vmm/arch/x86/kernel_pvh.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct {
    size_t offset;
    const char *magic;
    size_t len;
    const char *what;
} mistaken[] = {
    {0, "\x1f\x8b", 2, "is compressed with gzip"},
    {0,
     "\xfd"
     "7zXZ",
     5, "is compressed with xz"},
    {0, "\x28\xb5\x2f\xfd", 4, "is compressed with zstd"},
    {0, "BZh", 3, "is compressed with bzip2"},
    {0, "\x02\x21\x4c\x18", 4, "is compressed with lz4"},
    {0x38, "ARM\x64", 4, "is for arm64"},
    {0, "MZ", 2, "is a program for UEFI or Windows"},
    {0, "070701", 6, "is an initrd (cpio)"},
    {0, "#!", 2, "is a script"},
};

static int not_a_kernel(const struct boot_file *f, const uint8_t *head, size_t len, struct err *e)
{
    const char *what = "is neither an ELF file nor a bzImage";
    for (size_t i = 0; i < ARRAY_LEN(mistaken); i++)
        if (mistaken[i].offset + mistaken[i].len <= len &&
            memcmp(head + mistaken[i].offset, mistaken[i].magic, mistaken[i].len) == 0) {
            what = mistaken[i].what;
            break;
        }
    return err_set(e, -ENOEXEC,
                   "kernel '%s' %s; give the uncompressed vmlinux or the bzImage of an x86-64 Linux", f->path,
                   what);
}

/* Which of its entries an ELF kernel is entered by. */
static int choose_entry(const struct boot_file *f, const struct elf_kernel *elf, enum boot_protocol protocol,
                        struct kernel_image *out, struct err *e)
{
    struct pvh_notes notes = {0};
    int ret = protocol == BOOT_LINUX ? 0 : kernel_pvh_notes(f, elf, &notes, e);
    if (ret < 0)
        return ret;
    if (protocol == BOOT_PVH && !notes.has_entry)
        return err_set(e, -ENOEXEC, "kernel '%s' has no PVH entry point (CONFIG_PVH of Linux)", f->path);
    bool pvh = protocol == BOOT_PVH || (notes.has_entry && !notes.is_linux);
    out->kind = pvh ? KERNEL_PVH : KERNEL_LINUX64;
    out->entry = pvh ? notes.entry : elf->entry;
    if (!kernel_elf_has_code(elf, out->entry))
        return err_set(e, -ENOEXEC,
                       "kernel '%s' starts at 0x%" PRIx64 ", where none of its segments has code", f->path,
                       out->entry);
    return 0;
}

/* An ELF file has no setup header; this is what Linux reads of one (arch/x86/kernel/setup.c, head64.c). */
static void make_setup(struct setup_header *s)
{
    *s = (struct setup_header){
        .boot_flag = 0xaa55,
        .header = 0x53726448, /* "HdrS" */
        .version = 0x020f,
        .loadflags = LOADED_HIGH,
        .kernel_alignment = 0x200000,
        .cmdline_size = KERNEL_CMDLINE_MAX,
        .initrd_addr_max = (uint32_t)LAYOUT_HOLE_START - 1,
    };
}

static int load_elf(const struct boot_file *f, struct gmem *m, enum boot_protocol protocol,
                    struct kernel_image *out, struct err *e)
{
    struct elf_kernel elf;
    int ret = kernel_elf_parse(f, m, &elf, e);
    if (ret < 0)
        return ret;
    *out = (struct kernel_image){
        .start = elf.start,
        .end = elf.end,
        .initrd_end_max = LAYOUT_HOLE_START,
        .cmdline_max = KERNEL_CMDLINE_MAX,
    };
    make_setup(&out->setup);
    ret = choose_entry(f, &elf, protocol, out, e);
    return ret < 0 ? ret : kernel_elf_load(f, m, &elf, e);
}

int kernel_load(const struct boot_file *f, struct gmem *m, enum boot_protocol protocol,
                struct kernel_image *out, struct err *e)
{
    uint8_t head[BZIMAGE_HEAD];
    size_t len = f->size < sizeof(head) ? (size_t)f->size : sizeof(head);
    int ret = boot_file_read(f, 0, head, len, e);
    if (ret < 0)
        return ret;
    if (len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
        return load_elf(f, m, protocol, out, e);
    if (!kernel_bzimage_detect(head, len))
        return not_a_kernel(f, head, len, e);
    if (protocol == BOOT_PVH)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' is a bzImage, which has no PVH entry point; give the vmlinux", f->path);
    return kernel_bzimage_load(f, m, out, e);
}
