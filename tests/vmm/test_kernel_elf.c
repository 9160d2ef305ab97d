/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels: where a good one's bytes end up, and what is said about a bad one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/vmm/images.h"

#include <errno.h>
#include <unistd.h>

#define MEMORY_MIB 32

static void assert_file_bytes(const struct gmem *m, gpa_t gpa, size_t offset, size_t len)
{
    const uint8_t *p = gmem_ptr(m, gpa, len);
    assert_non_null(p);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(p[i], image_byte(offset + i));
}

static void assert_zeros(const struct gmem *m, gpa_t gpa, gpa_t end)
{
    const uint8_t *p = gmem_ptr(m, gpa, end - gpa);
    assert_non_null(p);
    for (size_t i = 0; i < end - gpa; i++)
        assert_int_equal(p[i], 0);
}

static void assert_good_elf(const struct gmem *m)
{
    assert_file_bytes(m, ELF_TEXT, ELF_TEXT_AT, ELF_TEXT_LEN);
    assert_zeros(m, ELF_TEXT + ELF_TEXT_LEN, ELF_DATA);
    assert_file_bytes(m, ELF_DATA, ELF_DATA_AT, ELF_DATA_LEN);
    assert_zeros(m, ELF_DATA + ELF_DATA_LEN, ELF_DATA + 0x10000);
    assert_zeros(m, 0, ELF_TEXT);
}

static void segments_land_where_they_belong_and_bss_is_zero(void **state)
{
    (void)state;
    for (int map = 0; map < 2; map++) {
        struct gmem m = {0};
        struct image img;
        struct kernel_image k;
        struct boot_file f;
        image_elf(&img);
        assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
        CLEANUP(fd_closep) int fd = image_file(img.bytes, img.len);
        assert_int_equal(boot_file_init(&f, "kernel", IMAGE_NAME, fd, map, NULL), 0);
        assert_int_equal(kernel_load(&f, &m, BOOT_AUTO, &k, NULL), 0);
        assert_int_equal(k.kind, KERNEL_LINUX64);
        assert_int_equal(k.entry, ELF_ENTRY);
        assert_int_equal(k.start, ELF_TEXT);
        assert_int_equal(k.end, ELF_TEXT + 0x6000);
        assert_int_equal(k.cmdline_max, 2047);
        assert_good_elf(&m);
        gmem_fini(&m);
    }
}

static void mapped_pages_are_shared_with_the_file_until_written(void **state)
{
    (void)state;
    for (int map = 0; map < 2; map++) {
        struct gmem m = {0};
        struct image img;
        struct kernel_image k;
        struct boot_file f;
        uint8_t seen = 0, mine = 0x5a, in_file = 0;
        image_elf(&img);
        assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
        CLEANUP(fd_closep) int fd = image_file(img.bytes, img.len);
        assert_int_equal(boot_file_init(&f, "kernel", IMAGE_NAME, fd, map, NULL), 0);
        assert_int_equal(kernel_load(&f, &m, BOOT_AUTO, &k, NULL), 0);
        assert_int_equal(pwrite(fd, "\xee", 1, ELF_TEXT_AT), 1);
        assert_int_equal(gmem_read(&m, ELF_TEXT, &seen, 1), 0);
        assert_int_equal(seen, map ? 0xee : image_byte(ELF_TEXT_AT));
        /* …but what the guest writes stays its own. */
        assert_int_equal(gmem_write(&m, ELF_TEXT + 1, &mine, 1), 0);
        assert_int_equal(pread(fd, &in_file, 1, ELF_TEXT_AT + 1), 1);
        assert_int_equal(in_file, image_byte(ELF_TEXT_AT + 1));
        gmem_fini(&m);
    }
}

/* The first segment's last page also holds the begin of another one; both orders of loading. */
static void segments_may_share_a_page(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        struct gmem m = {0};
        struct image img;
        struct kernel_image k;
        image_elf(&img);
        unsigned a = first, b = 1 - first;
        Elf64_Phdr swap;
        memcpy(&swap, img.bytes + ELF_PHDR(a), sizeof(swap));
        swap.p_memsz = swap.p_filesz = 0x1800;
        swap.p_offset = 0x1000, swap.p_paddr = ELF_TEXT;
        memcpy(img.bytes + ELF_PHDR(a), &swap, sizeof(swap));
        swap.p_memsz = swap.p_filesz = 0x1800;
        swap.p_offset = 0x2800, swap.p_paddr = ELF_TEXT + 0x1800;
        memcpy(img.bytes + ELF_PHDR(b), &swap, sizeof(swap));
        assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
        assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
        assert_file_bytes(&m, ELF_TEXT, 0x1000, 0x3000);
        assert_zeros(&m, ELF_TEXT + 0x3000, ELF_TEXT + 0x8000);
        gmem_fini(&m);
    }
}

static void a_segment_may_end_with_the_memory(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_elf(&img);
    image_poke(&img, PHDR(1, p_paddr), MEMORY_MIB * LAYOUT_MIB - ELF_DATA_MEM);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.end, MEMORY_MIB * LAYOUT_MIB);
    gmem_fini(&m);
}

/* Empty segments and those of other types may say what they like. */
static void segments_that_are_not_loaded_are_not_checked(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_elf(&img);
    image_poke(&img, PHDR(1, p_paddr), 0);
    image_poke(&img, PHDR(1, p_filesz), 0);
    image_poke(&img, PHDR(1, p_memsz), 0);
    image_poke(&img, PHDR(2, p_type), PT_GNU_STACK);
    image_poke(&img, PHDR(2, p_filesz), UINT64_MAX);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    gmem_fini(&m);
}

static const struct {
    size_t at;
    unsigned width;
    uint64_t value;
    int code;
    const char *says;
} bad_fields[] = {
    {EI_DATA, 1, ELFDATA2MSB, -ENOEXEC, "big-endian"},
    {EI_CLASS, 1, ELFCLASS32, -ENOEXEC, "32-bit ELF"},
    {EI_CLASS, 1, 77, -ENOEXEC, "32-bit ELF"},
    {EHDR(e_machine), EM_AARCH64, -ENOEXEC, "another machine (ELF machine 183)"},
    {EHDR(e_type), ET_REL, -ENOEXEC, "not an executable"},
    {EHDR(e_type), ET_CORE, -ENOEXEC, "not an executable"},
    {EHDR(e_phentsize), 32, -ENOEXEC, "program headers of 32 bytes instead of 56"},
    {EHDR(e_phnum), 0, -ENOEXEC, "0 program headers"},
    {EHDR(e_phnum), 65, -ENOEXEC, "65 program headers"},
    {EHDR(e_phnum), PN_XNUM, -ENOEXEC, "65535 program headers"},
    {EHDR(e_phoff), UINT64_MAX, -ENOEXEC, "cut short"},
    {EHDR(e_phoff), UINT64_MAX - 100, -ENOEXEC, "cut short"},
    {EHDR(e_phoff), 0x4fff, -ENOEXEC, "cut short"},
    {EHDR(e_entry), 0, -ENOEXEC, "starts at 0x0, where none"},
    {EHDR(e_entry), ELF_TEXT - 1, -ENOEXEC, "where none"},
    {EHDR(e_entry), ELF_TEXT + ELF_TEXT_LEN, -ENOEXEC, "where none"}, /* in its bss */
    {EHDR(e_entry), UINT64_C(0xffffffff81000123), -ENOEXEC, "where none"},
    {PHDR(0, p_type), PT_INTERP, -ENOEXEC, "program for a dynamic linker"},
    {PHDR(0, p_filesz), ELF_TEXT_MEM + 1, -ENOEXEC, "more bytes in the file"},
    {PHDR(0, p_filesz), UINT64_MAX, -ENOEXEC, "more bytes in the file"},
    {PHDR(0, p_memsz), ELF_TEXT_LEN - 1, -ENOEXEC, "more bytes in the file"},
    {PHDR(0, p_memsz), UINT64_MAX, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_memsz), -ELF_TEXT, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_memsz), -ELF_TEXT + 0x200000, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_memsz), UINT64_C(0x10000000), -ENOMEM, "at least 272 MiB are needed, there are 32"},
    {PHDR(0, p_memsz), ELF_TEXT_MEM + 0x201, -ENOEXEC, "overlap"},
    {PHDR(0, p_offset), UINT64_MAX, -ENOEXEC, "cut short"},
    {PHDR(0, p_offset), UINT64_MAX - 0x100, -ENOEXEC, "cut short"},
    {PHDR(0, p_offset), 0x3801, -ENOEXEC, "cut short"},
    {PHDR(0, p_paddr), 0, -ENOEXEC, "below 1 MiB"},
    {PHDR(0, p_paddr), LAYOUT_ZERO_PAGE, -ENOEXEC, "below 1 MiB"},
    {PHDR(0, p_paddr), LAYOUT_KERNEL_MIN - 1, -ENOEXEC, "below 1 MiB"},
    {PHDR(0, p_paddr), UINT64_MAX - 0x1000, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_paddr), LAYOUT_HOLE_START - 0x1000, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_paddr), LAYOUT_IOAPIC, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_paddr), LAYOUT_HIGH_RAM, -ENOEXEC, "does not lie below 3 GiB"},
    {PHDR(0, p_paddr), MEMORY_MIB *LAYOUT_MIB - 1, -ENOMEM, "at least 33 MiB are needed, there are 32"},
    {PHDR(1, p_paddr), ELF_TEXT, -ENOEXEC, "overlap, at 0x1000000 and 0x1000000"},
    {PHDR(1, p_paddr), ELF_TEXT + ELF_TEXT_MEM - 1, -ENOEXEC, "overlap"},
    {PHDR(1, p_paddr), ELF_TEXT - ELF_DATA_MEM + 1, -ENOEXEC, "overlap"},
};

static void each_bad_field_is_named(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(bad_fields); i++) {
        struct image img;
        struct kernel_image k;
        struct err e = {0};
        image_elf(&img);
        image_poke(&img, bad_fields[i].at, bad_fields[i].width, bad_fields[i].value);
        int ret = image_load(&img, &m, BOOT_AUTO, &k, &e);
        if (ret != bad_fields[i].code || !strstr(e.text, bad_fields[i].says))
            fail_msg("case %zu (%s): %d, \"%s\"", i, bad_fields[i].says, ret, e.text);
        assert_non_null(strstr(e.text, "kernel '" IMAGE_NAME "'"));
    }
    /* All was checked before anything was loaded. */
    assert_zeros(&m, 0, MEMORY_MIB * LAYOUT_MIB);
    gmem_fini(&m);
}

static void a_file_without_loaded_segments_is_refused(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    struct err e;
    image_elf(&img);
    image_poke(&img, PHDR(0, p_type), PT_NULL);
    image_poke(&img, PHDR(1, p_type), PT_NULL);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "nothing to load"));
    gmem_fini(&m);
}

/* Cut at every length, a good kernel is an error, never a crash; the last segment's end decides. */
static void a_file_cut_anywhere_is_an_error(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_elf(&img);
    image_poke(&img, PHDR(2, p_type), PT_NULL);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    size_t whole = ELF_DATA_AT + ELF_DATA_LEN;
    for (img.len = 1; img.len < whole; img.len += img.len < 300 ? 1 : 199) {
        struct err e = {0};
        assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, &e), -ENOEXEC);
        assert_non_null(strstr(e.text, IMAGE_NAME));
    }
    img.len = whole;
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    gmem_fini(&m);
}

static void files_that_are_mistaken_for_kernels_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } cases[] = {
        {"\x1f\x8b\x08", 3, "compressed with gzip"},
        {"\xfd"
         "7zXZ",
         5, "compressed with xz"},
        {"\x28\xb5\x2f\xfd", 4, "compressed with zstd"},
        {"BZh9", 4, "compressed with bzip2"},
        {"\x02\x21\x4c\x18", 4, "compressed with lz4"},
        {"MZ\x90", 3, "UEFI or Windows"},
        {"070701", 6, "initrd"},
        {"#!/bin/sh\n", 10, "script"},
        {"hello", 5, "neither an ELF file nor a bzImage"},
        {"\x7f", 1, "neither an ELF file nor a bzImage"},
        {"\x7f"
         "ELF",
         4, "cut short"},
    };
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image img = {.len = cases[i].len};
        struct kernel_image k;
        struct err e = {0};
        memcpy(img.bytes, cases[i].bytes, cases[i].len);
        assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, &e), -ENOEXEC);
        assert_non_null(strstr(e.text, cases[i].says));
        assert_non_null(strstr(e.text, IMAGE_NAME));
    }
    struct image arm = {.len = 0x1000, .bytes = "MZ"};
    struct kernel_image k;
    struct err e;
    memcpy(arm.bytes + 0x38, "ARM\x64", 4);
    assert_int_equal(image_load(&arm, &m, BOOT_AUTO, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "arm64"));
    gmem_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_land_where_they_belong_and_bss_is_zero),
        cmocka_unit_test(mapped_pages_are_shared_with_the_file_until_written),
        cmocka_unit_test(segments_may_share_a_page),
        cmocka_unit_test(a_segment_may_end_with_the_memory),
        cmocka_unit_test(segments_that_are_not_loaded_are_not_checked),
        cmocka_unit_test(each_bad_field_is_named),
        cmocka_unit_test(a_file_without_loaded_segments_is_refused),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(files_that_are_mistaken_for_kernels_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
