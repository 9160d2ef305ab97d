/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels made in the test's own memory: a small well-formed one of each kind, which a test then damages at
 * one place, and a file made of it.
 */
#ifndef CUBBY_TESTS_VMM_IMAGES_H
#define CUBBY_TESTS_VMM_IMAGES_H

#include "base/cursor.h"
#include "base/gmem.h"
#include "base/io.h"
#include "vmm/arch/x86/boot_file.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/loader.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define IMAGE_SIZE 0x6000
#define IMAGE_NAME "the-file"

struct image {
    size_t len;
    uint8_t bytes[IMAGE_SIZE];
};

/* A field of the image, set to another value. */
static inline void image_poke(struct image *img, size_t at, unsigned width, uint64_t value)
{
    uint8_t le[8];
    store_le64(le, value);
    memcpy(img->bytes + at, le, width);
}

/* A file of these bytes, without a name in any folder. Aborts when the host has no memory. */
static inline int image_file(const void *bytes, size_t len)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || write_full(fd, bytes, len) < 0)
        abort();
    return fd;
}

/* What a byte of a made file looks like, so that a misplaced one is seen. */
static inline uint8_t image_byte(size_t offset)
{
    return (uint8_t)(offset * 7 + (offset >> 8) + 1);
}

static inline void image_fill(struct image *img, size_t len)
{
    img->len = len;
    for (size_t i = 0; i < sizeof(img->bytes); i++)
        img->bytes[i] = image_byte(i);
}

/*
 * An ELF kernel: segment 0 is page-aligned, has a page and a half in the file and four pages in memory;
 * segment 1 begins in the middle of a page, its file offset too, but elsewhere; segment 2 is the notes.
 */
#define ELF_TEXT       UINT64_C(0x1000000)
#define ELF_TEXT_AT    0x1000
#define ELF_TEXT_LEN   0x1800
#define ELF_TEXT_MEM   0x4000
#define ELF_DATA       (ELF_TEXT + 0x4200)
#define ELF_DATA_AT    0x3123
#define ELF_DATA_LEN   0x234
#define ELF_DATA_MEM   0x1000
#define ELF_NOTES_AT   0x4000
#define ELF_ENTRY      (ELF_TEXT + 0x123)
#define ELF_PHDR(i)    (sizeof(Elf64_Ehdr) + (i) * sizeof(Elf64_Phdr))
#define EHDR(field)    offsetof(Elf64_Ehdr, field), sizeof(((Elf64_Ehdr *)0)->field)
#define PHDR(i, field) ELF_PHDR(i) + offsetof(Elf64_Phdr, field), sizeof(((Elf64_Phdr *)0)->field)

/* Appends a note; returns the bytes of notes so far. */
static inline size_t image_note(struct image *img, size_t used, const char *owner, uint32_t type,
                                const void *desc, uint32_t len)
{
    struct writer w = writer_of(img->bytes + ELF_NOTES_AT + used, 0x1000 - used);
    uint32_t name_len = (uint32_t)strlen(owner) + 1;
    static const uint8_t zeros[4];
    write_u32(&w, name_len);
    write_u32(&w, len);
    write_u32(&w, type);
    write_bytes(&w, owner, name_len);
    write_bytes(&w, zeros, -name_len & 3);
    write_bytes(&w, desc, len);
    write_bytes(&w, zeros, -len & 3);
    used += writer_len(&w);
    image_poke(img, PHDR(2, p_filesz), used);
    return used;
}

static inline void image_elf(struct image *img)
{
    image_fill(img, ELF_NOTES_AT + 0x1000);
    Elf64_Ehdr h = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = ELF_ENTRY,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 3,
    };
    Elf64_Phdr p[3] = {
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_X,
         .p_offset = ELF_TEXT_AT,
         .p_paddr = ELF_TEXT,
         .p_filesz = ELF_TEXT_LEN,
         .p_memsz = ELF_TEXT_MEM},
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_W,
         .p_offset = ELF_DATA_AT,
         .p_paddr = ELF_DATA,
         .p_filesz = ELF_DATA_LEN,
         .p_memsz = ELF_DATA_MEM},
        {.p_type = PT_NOTE, .p_offset = ELF_NOTES_AT, .p_align = 4},
    };
    memcpy(img->bytes, &h, sizeof(h));
    memcpy(img->bytes + sizeof(h), p, sizeof(p));
    image_note(img, 0, "Linux", 0x100, "", 1);
}

/* A bzImage: two sectors of setup, then code. */
#define BZ_CODE_AT   0x400
#define BZ_CODE_LEN  0x2340
#define BZ_INIT_SIZE 0x800000
#define BZ_SETUP(field)                                                                                      \
    0x1f1 + offsetof(struct setup_header, field), sizeof(((struct setup_header *)0)->field)

static inline void image_bzimage(struct image *img)
{
    image_fill(img, BZ_CODE_AT + BZ_CODE_LEN);
    struct setup_header s = {
        .setup_sects = 1,
        .syssize = BZ_CODE_LEN / 16,
        .boot_flag = 0xaa55,
        .jump = 0x6aeb, /* jmp +0x6a: the header ends at 0x26c */
        .header = 0x53726448,
        .version = 0x020f,
        .loadflags = LOADED_HIGH,
        .initrd_addr_max = 0x7fffffff,
        .kernel_alignment = 0x200000,
        .relocatable_kernel = 1,
        .xloadflags = XLF_KERNEL_64,
        .cmdline_size = 2047,
        .pref_address = 0x1000000,
        .init_size = BZ_INIT_SIZE,
    };
    memcpy(img->bytes + 0x1f1, &s, sizeof(s));
}

/* Loads the image as a kernel into *m, mapped where that is possible. */
static inline int image_load(const struct image *img, struct gmem *m, enum boot_protocol protocol,
                             struct kernel_image *out, struct err *e)
{
    struct boot_file f;
    int fd = image_file(img->bytes, img->len);
    int ret = boot_file_init(&f, "kernel", IMAGE_NAME, fd, true, e);
    if (ret == 0)
        ret = kernel_load(&f, m, protocol, out, e);
    close(fd);
    return ret;
}

#endif
