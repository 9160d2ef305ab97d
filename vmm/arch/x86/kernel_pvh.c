/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: notes are (name size, description size, type, name, description) records, one after
 * the other, in segments of type PT_NOTE. We look for Xen's entry point, and for anything signed "Linux":
 * every vmlinux since 4.18 carries such a note (include/linux/build-salt.h), and Linux is better entered by
 * its own protocol.
 */
#include "vmm/arch/x86/kernel_pvh.h"
#include "base/cursor.h"
#include "base/own.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* The page: start info, module list, memory map. */
#define INFO_MODULES 0x40
#define INFO_MEMMAP  0x80

_Static_assert(sizeof(struct pvh_start_info) == 56 && offsetof(struct pvh_start_info, memmap_paddr) == 40 &&
                   sizeof(struct pvh_module) == 32 && sizeof(struct pvh_memmap_entry) == 24,
               "the layout that start_info.h draws");
_Static_assert(sizeof(struct pvh_start_info) <= INFO_MODULES &&
                   INFO_MODULES + sizeof(struct pvh_module) <= INFO_MEMMAP &&
                   INFO_MEMMAP + LAYOUT_E820_MAX * sizeof(struct pvh_memmap_entry) <= LAYOUT_PAGE,
               "all fits into the page");

static bool owner_is(const uint8_t *name, uint32_t len, const char *owner)
{
    return len == strlen(owner) + 1 && memcmp(name, owner, len) == 0;
}

/* The next `len` bytes and the padding behind them, which may be missing at the very end. */
static const uint8_t *read_padded(struct reader *r, uint32_t len, uint32_t align)
{
    const uint8_t *p = read_bytes(r, len);
    size_t pad = -len & (align - 1);
    read_bytes(r, pad < reader_left(r) ? pad : reader_left(r));
    return p;
}

static int take_entry(const struct boot_file *f, const uint8_t *desc, uint32_t len, struct pvh_notes *out,
                      struct err *e)
{
    if (len != 4 && len != 8)
        return err_set(e, -ENOEXEC, "kernel '%s' has a PVH entry note of %u bytes instead of 4 or 8", f->path,
                       len);
    out->entry = len == 4 ? load_le32(desc) : load_le64(desc);
    out->has_entry = true;
    return 0;
}

static int scan_notes(const struct boot_file *f, struct reader *r, uint32_t align, struct pvh_notes *out,
                      struct err *e)
{
    while (reader_left(r) > 0) {
        uint32_t name_len = read_u32(r), desc_len = read_u32(r), type = read_u32(r);
        const uint8_t *name = read_padded(r, name_len, align);
        const uint8_t *desc = read_padded(r, desc_len, align);
        if (r->failed)
            return 0;
        if (owner_is(name, name_len, "Linux"))
            out->is_linux = true;
        if (owner_is(name, name_len, "Xen") && type == XEN_ELFNOTE_PHYS32_ENTRY) {
            int ret = take_entry(f, desc, desc_len, out, e);
            if (ret < 0)
                return ret;
        }
    }
    return 0;
}

int kernel_pvh_notes(const struct boot_file *f, const struct elf_kernel *k, struct pvh_notes *out,
                     struct err *e)
{
    *out = (struct pvh_notes){0};
    for (unsigned i = 0; i < k->count; i++) {
        const Elf64_Phdr *p = &k->phdr[i];
        if (p->p_type != PT_NOTE || p->p_filesz == 0)
            continue;
        if (p->p_filesz > PVH_NOTES_MAX)
            return err_set(e, -ENOEXEC, "kernel '%s' has 0x%" PRIx64 " bytes of notes; at most 0x%x are read",
                           f->path, p->p_filesz, PVH_NOTES_MAX);
        CLEANUP(mem_freep) uint8_t *notes = malloc(p->p_filesz);
        if (!notes)
            return err_set(e, -ENOMEM, "no memory for the notes of kernel '%s'", f->path);
        int ret = boot_file_read(f, p->p_offset, notes, p->p_filesz, e);
        struct reader r = reader_of(notes, p->p_filesz);
        if (ret == 0)
            ret = scan_notes(f, &r, p->p_align == 8 ? 8 : 4, out, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}

int kernel_pvh_write_info(struct gmem *m, const struct initrd *initrd)
{
    struct boot_e820_entry e820[LAYOUT_E820_MAX];
    struct pvh_memmap_entry map[LAYOUT_E820_MAX] = {0};
    unsigned n = layout_e820(m, e820);
    for (unsigned i = 0; i < n; i++)
        map[i] = (struct pvh_memmap_entry){.addr = e820[i].addr, .size = e820[i].size, .type = e820[i].type};

    struct pvh_module module = {.paddr = initrd->start, .size = initrd->size};
    struct pvh_start_info info = {
        .magic = XEN_HVM_START_MAGIC,
        .version = 1,
        .cmdline_paddr = LAYOUT_CMDLINE,
        .memmap_paddr = LAYOUT_PVH_INFO + INFO_MEMMAP,
        .memmap_entries = n,
    };
    if (initrd->size) {
        info.nr_modules = 1;
        info.modlist_paddr = LAYOUT_PVH_INFO + INFO_MODULES;
    }
    int ret = gmem_write(m, LAYOUT_PVH_INFO, &info, sizeof(info));
    if (ret == 0)
        ret = gmem_write(m, LAYOUT_PVH_INFO + INFO_MODULES, &module, sizeof(module));
    return ret < 0 ? ret : gmem_write(m, LAYOUT_PVH_INFO + INFO_MEMMAP, map, n * sizeof(map[0]));
}
