/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an ELF file is a list of segments: file bytes, and where in physical memory they
 * belong (p_paddr). Everything is checked first, on our own copy of the headers, with sums that cannot wrap;
 * only then guest memory is touched. The entry point of a vmlinux is a physical address: startup_64 in
 * arch/x86/kernel/head_64.S.
 */
#include "vmm/arch/x86/kernel_elf.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int bad(const struct boot_file *f, struct err *e, const char *why)
{
    return err_set(e, -ENOEXEC, "kernel '%s' %s", f->path, why);
}

static int check_header(const struct boot_file *f, const Elf64_Ehdr *h, struct err *e)
{
    if (h->e_ident[EI_DATA] != ELFDATA2LSB)
        return bad(f, e, "is a big-endian ELF file; x86-64 is little-endian");
    if (h->e_ident[EI_CLASS] != ELFCLASS64)
        return bad(f, e, "is a 32-bit ELF file; only 64-bit kernels are booted");
    if (h->e_machine != EM_X86_64)
        return err_set(e, -ENOEXEC, "kernel '%s' is for another machine (ELF machine %u); x86-64 is needed",
                       f->path, h->e_machine);
    if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
        return bad(f, e, "is an ELF file, but not an executable one");
    if (h->e_phentsize != sizeof(Elf64_Phdr))
        return err_set(e, -ENOEXEC, "kernel '%s' has program headers of %u bytes instead of %zu", f->path,
                       h->e_phentsize, sizeof(Elf64_Phdr));
    if (h->e_phnum == 0 || h->e_phnum > ELF_SEGMENTS_MAX)
        return err_set(e, -ENOEXEC, "kernel '%s' has %u program headers; 1 to %d are accepted", f->path,
                       h->e_phnum, ELF_SEGMENTS_MAX);
    return 0;
}

/* Does the segment lie where a kernel may be? */
static int check_place(const struct boot_file *f, const struct gmem *m, const Elf64_Phdr *p, struct err *e)
{
    if (p->p_paddr < LAYOUT_KERNEL_MIN)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' has a segment at 0x%" PRIx64 ", below 1 MiB, where the boot data is: "
                       "is it a kernel?",
                       f->path, p->p_paddr);
    if (p->p_paddr > LAYOUT_HOLE_START || p->p_memsz > LAYOUT_HOLE_START - p->p_paddr)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' has a segment of 0x%" PRIx64 " bytes at 0x%" PRIx64
                       ", which does not lie below 3 GiB",
                       f->path, p->p_memsz, p->p_paddr);
    gpa_t end = p->p_paddr + p->p_memsz;
    if (end > layout_low_ram_end(m))
        return err_set(e, -ENOMEM,
                       "kernel '%s' does not fit into memory: at least %" PRIu64 " MiB are needed, there are "
                       "%" PRIu64,
                       f->path, layout_mib_for(end), layout_mib_for(layout_low_ram_end(m)));
    return 0;
}

static int check_segment(const struct boot_file *f, const struct gmem *m, const Elf64_Phdr *p, struct err *e)
{
    if (p->p_filesz > p->p_memsz)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' has a segment with more bytes in the file (0x%" PRIx64
                       ") than in memory (0x%" PRIx64 ")",
                       f->path, p->p_filesz, p->p_memsz);
    if (p->p_offset > f->size || p->p_filesz > f->size - p->p_offset)
        return err_set(e, -ENOEXEC,
                       "kernel '%s' is cut short: it ends at byte %" PRIu64 ", but a segment of 0x%" PRIx64
                       " bytes begins at 0x%" PRIx64,
                       f->path, f->size, p->p_filesz, p->p_offset);
    return check_place(f, m, p, e);
}

static bool overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
    return a->p_paddr < b->p_paddr + b->p_memsz && b->p_paddr < a->p_paddr + a->p_memsz;
}

static bool is_loaded(const Elf64_Phdr *p)
{
    return p->p_type == PT_LOAD && p->p_memsz > 0;
}

static int check_overlaps(const struct boot_file *f, const struct elf_kernel *k, unsigned i, struct err *e)
{
    for (unsigned j = 0; j < i; j++)
        if (is_loaded(&k->phdr[j]) && overlap(&k->phdr[i], &k->phdr[j]))
            return err_set(e, -ENOEXEC,
                           "kernel '%s' has segments that overlap, at 0x%" PRIx64 " and 0x%" PRIx64, f->path,
                           k->phdr[j].p_paddr, k->phdr[i].p_paddr);
    return 0;
}

static int check_segments(const struct boot_file *f, const struct gmem *m, struct elf_kernel *k,
                          struct err *e)
{
    k->start = UINT64_MAX;
    k->end = 0;
    for (unsigned i = 0; i < k->count; i++) {
        const Elf64_Phdr *p = &k->phdr[i];
        if (p->p_type == PT_INTERP)
            return bad(f, e, "is a program for a dynamic linker, not a kernel");
        if (!is_loaded(p))
            continue;
        int ret = check_segment(f, m, p, e);
        if (ret == 0)
            ret = check_overlaps(f, k, i, e);
        if (ret < 0)
            return ret;
        gpa_t end = layout_page_up(p->p_paddr + p->p_memsz);
        k->start = p->p_paddr < k->start ? layout_page_down(p->p_paddr) : k->start;
        k->end = end > k->end ? end : k->end;
    }
    return k->end ? 0 : bad(f, e, "has nothing to load");
}

int kernel_elf_parse(const struct boot_file *f, const struct gmem *m, struct elf_kernel *k, struct err *e)
{
    Elf64_Ehdr h;
    int ret = boot_file_read(f, 0, &h, sizeof(h), e);
    if (ret == 0)
        ret = check_header(f, &h, e);
    if (ret < 0)
        return ret;
    k->entry = h.e_entry;
    k->count = h.e_phnum;
    ret = boot_file_read(f, h.e_phoff, k->phdr, k->count * sizeof(k->phdr[0]), e);
    return ret < 0 ? ret : check_segments(f, m, k, e);
}

bool kernel_elf_has_code(const struct elf_kernel *k, gpa_t gpa)
{
    for (unsigned i = 0; i < k->count; i++) {
        const Elf64_Phdr *p = &k->phdr[i];
        if (is_loaded(p) && gpa >= p->p_paddr && gpa - p->p_paddr < p->p_filesz)
            return true;
    }
    return false;
}

int kernel_elf_load(const struct boot_file *f, struct gmem *m, const struct elf_kernel *k, struct err *e)
{
    for (unsigned i = 0; i < k->count; i++) {
        const Elf64_Phdr *p = &k->phdr[i];
        if (!is_loaded(p))
            continue;
        struct boot_piece piece = {.offset = p->p_offset, .len = p->p_filesz, .gpa = p->p_paddr};
        int ret = boot_file_load(f, m, &piece, e);
        if (ret < 0)
            return ret;
    }
    return 0;
}
