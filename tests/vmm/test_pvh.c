/* SPDX-License-Identifier: Apache-2.0 */
/* PVH: which kernels are entered that way, and the start info, read with the offsets that Xen's start_info.h
 * draws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/vmm/images.h"
#include "vmm/arch/x86/kernel_pvh.h"

#include <errno.h>

#define MEMORY_MIB 32
#define PVH_ENTRY  (ELF_TEXT + 0x40)

static const uint8_t entry64[8] = {0x40, 0, 0, 1};

/* A kernel with these notes: "Linux", "Xen" PHYS32_ENTRY of `len` bytes (0: none). */
static void make_kernel(struct image *img, bool is_linux, const uint8_t *entry, uint32_t len)
{
    size_t used = 0;
    image_elf(img);
    used = image_note(img, used, "GNU", 3, "0123456789abcdefghi", 19);
    if (is_linux)
        used = image_note(img, used, "Linux", 0x101, "", 1);
    used = image_note(img, used, "Xen", 19, "0123456789ab", 12); /* PHYS32_RELOC */
    if (len)
        used = image_note(img, used, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, entry, len);
    image_note(img, used, "Xenon", XEN_ELFNOTE_PHYS32_ENTRY, "nonsense", 8);
}

static int load(const struct image *img, enum boot_protocol protocol, struct kernel_image *k, struct err *e)
{
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    int ret = image_load(img, &m, protocol, k, e);
    gmem_fini(&m);
    return ret;
}

static void the_protocol_is_chosen_by_notes_and_wish(void **state)
{
    (void)state;
    static const struct {
        bool is_linux, pvh;
        enum boot_protocol wish;
        enum kernel_kind kind;
    } cases[] = {
        {true, true, BOOT_AUTO, KERNEL_LINUX64},   {true, false, BOOT_AUTO, KERNEL_LINUX64},
        {false, false, BOOT_AUTO, KERNEL_LINUX64}, {false, true, BOOT_AUTO, KERNEL_PVH},
        {true, true, BOOT_PVH, KERNEL_PVH},        {false, true, BOOT_PVH, KERNEL_PVH},
        {true, true, BOOT_LINUX, KERNEL_LINUX64},  {false, true, BOOT_LINUX, KERNEL_LINUX64},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image img;
        struct kernel_image k;
        make_kernel(&img, cases[i].is_linux, entry64, cases[i].pvh ? 8 : 0);
        assert_int_equal(load(&img, cases[i].wish, &k, NULL), 0);
        assert_int_equal(k.kind, cases[i].kind);
        assert_int_equal(k.entry, k.kind == KERNEL_PVH ? PVH_ENTRY : ELF_ENTRY);
    }
}

static void the_entry_may_have_4_or_8_bytes(void **state)
{
    (void)state;
    for (uint32_t len = 1; len <= 16; len++) {
        struct image img;
        struct kernel_image k;
        struct err e;
        uint8_t entry[16] = {0x40, 0, 0, 1};
        make_kernel(&img, false, entry, len);
        int ret = load(&img, BOOT_PVH, &k, &e);
        if (len == 4 || len == 8) {
            assert_int_equal(ret, 0);
            assert_int_equal(k.entry, PVH_ENTRY);
        } else {
            assert_int_equal(ret, -ENOEXEC);
            assert_non_null(strstr(e.text, "instead of 4 or 8"));
        }
    }
}

static void a_kernel_without_the_note_cannot_be_forced(void **state)
{
    (void)state;
    struct image img;
    struct kernel_image k;
    struct err e;
    make_kernel(&img, true, NULL, 0);
    assert_int_equal(load(&img, BOOT_PVH, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "has no PVH entry point"));
}

static void an_entry_outside_the_code_is_refused(void **state)
{
    (void)state;
    static const uint64_t entries[] = {0,
                                       ELF_TEXT - 1,
                                       ELF_TEXT + ELF_TEXT_LEN,
                                       UINT64_C(0x1000000000),
                                       UINT64_MAX,
                                       UINT64_C(0xffffffff81000040)};
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct image img;
        struct kernel_image k;
        struct err e;
        uint8_t le[8];
        store_le64(le, entries[i]);
        make_kernel(&img, false, le, 8);
        assert_int_equal(load(&img, BOOT_AUTO, &k, &e), -ENOEXEC);
        assert_non_null(strstr(e.text, "where none of its segments has code"));
    }
}

/* Sizes that lead out of the notes end the search; the Linux entry is still there. */
static void malformed_notes_end_the_search(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        {0, UINT32_MAX}, {4, UINT32_MAX}, {0, UINT32_MAX - 2}, {4, 0xfffffffd}, {0, 0x1000}, {4, 0x1000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct image img;
        struct kernel_image k;
        make_kernel(&img, false, entry64, 8);
        image_poke(&img, ELF_NOTES_AT + cases[i].at, 4, cases[i].value);
        assert_int_equal(load(&img, BOOT_PVH, &k, NULL), -ENOEXEC);
        assert_int_equal(load(&img, BOOT_AUTO, &k, NULL), 0);
        assert_int_equal(k.kind, KERNEL_LINUX64);
    }
}

/* The search ends with the segment, wherever it is cut. */
static void notes_cut_anywhere_do_no_harm(void **state)
{
    (void)state;
    struct image img;
    struct kernel_image k;
    make_kernel(&img, false, entry64, 8);
    uint64_t whole = load_le64(img.bytes + ELF_PHDR(2) + offsetof(Elf64_Phdr, p_filesz));
    for (uint64_t len = 0; len <= whole; len++) {
        image_poke(&img, PHDR(2, p_filesz), len);
        assert_int_equal(load(&img, BOOT_AUTO, &k, NULL), 0);
    }
}

static void notes_too_large_or_outside_the_file_are_refused(void **state)
{
    (void)state;
    struct image img;
    struct kernel_image k;
    struct err e;
    make_kernel(&img, false, entry64, 8);
    image_poke(&img, PHDR(2, p_filesz), PVH_NOTES_MAX + 1);
    assert_int_equal(load(&img, BOOT_AUTO, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "0x10001 bytes of notes"));
    image_poke(&img, PHDR(2, p_filesz), UINT64_MAX);
    assert_int_equal(load(&img, BOOT_AUTO, &k, &e), -ENOEXEC);
    image_poke(&img, PHDR(2, p_filesz), 0x2000);
    assert_int_equal(load(&img, BOOT_AUTO, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "cut short"));
    /* Who does not ask for PVH is not bothered. */
    assert_int_equal(load(&img, BOOT_LINUX, &k, &e), 0);
}

static void notes_aligned_to_8_are_read(void **state)
{
    (void)state;
    struct image img;
    struct kernel_image k;
    image_elf(&img);
    struct writer w = writer_of(img.bytes + ELF_NOTES_AT, 0x100);
    write_u32(&w, 4), write_u32(&w, 4), write_u32(&w, 5);
    write_bytes(&w, "GNU\0\0\0\0\0", 8); /* name and padding */
    write_bytes(&w, "1234\0\0\0\0", 8);
    write_u32(&w, 4), write_u32(&w, 8), write_u32(&w, XEN_ELFNOTE_PHYS32_ENTRY);
    write_bytes(&w, "Xen\0\0\0\0\0", 8);
    write_bytes(&w, entry64, 8);
    image_poke(&img, PHDR(2, p_filesz), writer_len(&w));
    image_poke(&img, PHDR(2, p_align), 8);
    assert_int_equal(load(&img, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.kind, KERNEL_PVH);
    assert_int_equal(k.entry, PVH_ENTRY);
}

static uint64_t field(const struct gmem *m, gpa_t at, unsigned width)
{
    uint8_t bytes[8] = {0};
    assert_int_equal(gmem_read(m, at, bytes, width), 0);
    return load_le64(bytes);
}

static void the_start_info_tells_command_line_and_memory(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(layout_add_ram(&m, 4096, NULL), 0);
    assert_int_equal(kernel_pvh_write_info(&m, &(struct initrd){0}), 0);
    gpa_t info = LAYOUT_PVH_INFO;
    assert_int_equal(field(&m, info + 0, 4), 0x336ec578);
    assert_int_equal(field(&m, info + 4, 4), 1);  /* version */
    assert_int_equal(field(&m, info + 8, 4), 0);  /* flags */
    assert_int_equal(field(&m, info + 12, 4), 0); /* modules */
    assert_int_equal(field(&m, info + 16, 8), 0);
    assert_int_equal(field(&m, info + 24, 8), LAYOUT_CMDLINE);
    assert_int_equal(field(&m, info + 32, 8), 0); /* RSDP */
    gpa_t map = field(&m, info + 40, 8);
    assert_int_equal(field(&m, info + 48, 4), 3);
    static const uint64_t expect[3][2] = {{0, 0xa0000}, {0x100000, 0xbff00000}, {0x100000000, 0x40000000}};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(field(&m, map + 24 * i, 8), expect[i][0]);
        assert_int_equal(field(&m, map + 24 * i + 8, 8), expect[i][1]);
        assert_int_equal(field(&m, map + 24 * i + 16, 4), 1); /* RAM */
        assert_int_equal(field(&m, map + 24 * i + 20, 4), 0);
    }
    gmem_fini(&m);
}

static void the_initrd_is_the_first_module(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct initrd initrd = {.start = 0x1f00000, .size = 0x12345};
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(kernel_pvh_write_info(&m, &initrd), 0);
    assert_int_equal(field(&m, LAYOUT_PVH_INFO + 12, 4), 1);
    gpa_t module = field(&m, LAYOUT_PVH_INFO + 16, 8);
    assert_int_equal(field(&m, module, 8), 0x1f00000);
    assert_int_equal(field(&m, module + 8, 8), 0x12345);
    assert_int_equal(field(&m, module + 16, 8), 0);
    assert_int_equal(field(&m, module + 24, 8), 0);
    gmem_fini(&m);
}

static void the_start_info_needs_memory(void **state)
{
    (void)state;
    struct gmem m = {0};
    assert_int_equal(kernel_pvh_write_info(&m, &(struct initrd){0}), -EFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_protocol_is_chosen_by_notes_and_wish),
        cmocka_unit_test(the_entry_may_have_4_or_8_bytes),
        cmocka_unit_test(a_kernel_without_the_note_cannot_be_forced),
        cmocka_unit_test(an_entry_outside_the_code_is_refused),
        cmocka_unit_test(malformed_notes_end_the_search),
        cmocka_unit_test(notes_cut_anywhere_do_no_harm),
        cmocka_unit_test(notes_too_large_or_outside_the_file_are_refused),
        cmocka_unit_test(notes_aligned_to_8_are_read),
        cmocka_unit_test(the_start_info_tells_command_line_and_memory),
        cmocka_unit_test(the_initrd_is_the_first_module),
        cmocka_unit_test(the_start_info_needs_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
