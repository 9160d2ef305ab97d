/* SPDX-License-Identifier: Apache-2.0 */
/* bzImages: the fields of the setup header that we act upon, one by one. Offsets in the file are written as
 * in boot.rst, as a second source beside the struct. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/vmm/images.h"
#include "vmm/arch/x86/kernel_bzimage.h"

#include <errno.h>

#define MEMORY_MIB 32

/* boot.rst, "Details of Header Fields". */
#define SETUP_SECTS     0x1f1, 1
#define SYSSIZE         0x1f4, 4
#define BOOT_FLAG       0x1fe, 2
#define HEADER_LENGTH   0x201, 1
#define VERSION         0x206, 2
#define LOADFLAGS       0x211, 1
#define INITRD_ADDR_MAX 0x22c, 4
#define ALIGNMENT       0x230, 4
#define RELOCATABLE     0x234, 1
#define XLOADFLAGS      0x236, 2
#define CMDLINE_SIZE    0x238, 4
#define PREF_ADDRESS    0x258, 8
#define INIT_SIZE       0x260, 4

static void a_good_image_is_copied_and_entered_0x200_bytes_in(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_bzimage(&img);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.kind, KERNEL_LINUX64);
    assert_int_equal(k.start, 0x1000000);
    assert_int_equal(k.end, 0x1000000 + BZ_INIT_SIZE);
    assert_int_equal(k.entry, 0x1000200);
    assert_int_equal(k.initrd_end_max, 0x80000000);
    assert_int_equal(k.cmdline_max, 2047);
    const uint8_t *code = gmem_ptr(&m, k.start, BZ_CODE_LEN + 0x1000);
    for (size_t i = 0; i < BZ_CODE_LEN + 0x1000; i++)
        assert_int_equal(code[i], i < BZ_CODE_LEN ? image_byte(BZ_CODE_AT + i) : 0);
    gmem_fini(&m);
}

static void the_setup_header_is_kept_for_the_zero_page(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_bzimage(&img);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_LINUX, &k, NULL), 0);
    assert_memory_equal(&k.setup, img.bytes + 0x1f1, 0x26c - 0x1f1);
    /* A shorter header: what it does not have is zero, not the code that follows it. */
    image_poke(&img, HEADER_LENGTH, 0x264 - 0x202);
    memset(img.bytes + 0x264, 0xcc, 8);
    assert_int_equal(image_load(&img, &m, BOOT_LINUX, &k, NULL), 0);
    assert_int_equal(k.setup.init_size, BZ_INIT_SIZE);
    assert_int_equal(k.setup.handover_offset, 0);
    assert_int_equal(k.setup.kernel_info_offset, 0);
    /* One that claims to be longer than any we know is cut. */
    image_poke(&img, HEADER_LENGTH, 0xff);
    assert_int_equal(image_load(&img, &m, BOOT_LINUX, &k, NULL), 0);
    gmem_fini(&m);
}

static const struct {
    size_t at;
    unsigned width;
    uint64_t value;
    int code;
    const char *says;
} bad_fields[] = {
    {BOOT_FLAG, 0x55aa, -ENOEXEC, "damaged bzImage header"},
    {VERSION, 0x0200, -ENOEXEC, "version 2.0 of the boot protocol"},
    {VERSION, 0x020b, -ENOEXEC, "version 2.11 of the boot protocol"},
    {XLOADFLAGS, 0, -ENOEXEC, "32-bit bzImage"},
    {XLOADFLAGS, XLF_CAN_BE_LOADED_ABOVE_4G, -ENOEXEC, "32-bit bzImage"},
    {LOADFLAGS, 0, -ENOEXEC, "zImage"},
    {RELOCATABLE, 0, -ENOEXEC, "CONFIG_RELOCATABLE"},
    {ALIGNMENT, 0, -ENOEXEC, "alignment of 0x0"},
    {ALIGNMENT, 0x800, -ENOEXEC, "alignment of 0x800"},
    {ALIGNMENT, 0x300000, -ENOEXEC, "alignment of 0x300000"},
    {ALIGNMENT, 0x80000000, -ENOEXEC, "alignment of 0x80000000"},
    {ALIGNMENT, UINT32_MAX, -ENOEXEC, "alignment of 0xffffffff"},
    {ALIGNMENT, 0x40000000, -ENOMEM, "at least 1032 MiB are needed, there are 32"},
    {SYSSIZE, 0, -ENOEXEC, "without code"},
    {SYSSIZE, 0x20, -ENOEXEC, "without code"},
    {SYSSIZE, UINT32_MAX, -ENOEXEC, "its header speaks of 68719477744"},
    {SYSSIZE, BZ_CODE_LEN / 16 + 1, -ENOEXEC, "cut short"},
    {SETUP_SECTS, 2, -ENOEXEC, "cut short"},
    {SETUP_SECTS, 0, -ENOEXEC, "cut short"}, /* 0 means 4 */
    {SETUP_SECTS, 255, -ENOEXEC, "cut short"},
    {PREF_ADDRESS, 0, -ENOEXEC, "0x0, not between 1 MiB and 3 GiB"},
    {PREF_ADDRESS, 0x7000, -ENOEXEC, "not between"},
    {PREF_ADDRESS, 0xfffff, -ENOEXEC, "not between"},
    {PREF_ADDRESS, LAYOUT_HOLE_START, -ENOEXEC, "not between"},
    {PREF_ADDRESS, LAYOUT_HIGH_RAM, -ENOEXEC, "not between"},
    {PREF_ADDRESS, UINT64_MAX, -ENOEXEC, "not between"},
    {PREF_ADDRESS, LAYOUT_HOLE_START - 1, -ENOEXEC, "do not lie below 3 GiB"},
    {PREF_ADDRESS, LAYOUT_HOLE_START - 0x200000, -ENOEXEC, "do not lie below 3 GiB"},
    {INIT_SIZE, UINT32_MAX, -ENOEXEC, "do not lie below 3 GiB"},
    {INIT_SIZE, 0x1000001, -ENOMEM, "at least 33 MiB are needed, there are 32"},
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
        image_bzimage(&img);
        image_poke(&img, bad_fields[i].at, bad_fields[i].width, bad_fields[i].value);
        int ret = image_load(&img, &m, BOOT_AUTO, &k, &e);
        if (ret != bad_fields[i].code || !strstr(e.text, bad_fields[i].says))
            fail_msg("case %zu (%s): %d, \"%s\"", i, bad_fields[i].says, ret, e.text);
        assert_non_null(strstr(e.text, "kernel '" IMAGE_NAME "'"));
    }
    gmem_fini(&m);
}

static void odd_but_legal_fields_are_taken(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    image_bzimage(&img);
    image_poke(&img, INIT_SIZE, 0x1000000); /* to the last byte */
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.end, MEMORY_MIB * LAYOUT_MIB);

    image_poke(&img, INIT_SIZE, 0); /* less than the code itself */
    image_poke(&img, PREF_ADDRESS, 0x1000001);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.start, 0x1200000);
    assert_int_equal(k.end, 0x1203000);
    assert_int_equal(k.entry, 0x1200200);

    image_poke(&img, CMDLINE_SIZE, UINT32_MAX);
    image_poke(&img, INITRD_ADDR_MAX, UINT32_MAX);
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    assert_int_equal(k.cmdline_max, LAYOUT_CMDLINE_MAX - 1);
    assert_int_equal(k.initrd_end_max, LAYOUT_HIGH_RAM);

    /* The last unit of 16 bytes need not be whole; a signature may follow. */
    img.len -= 15;
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    img.len += 15 + 0x100;
    assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), 0);
    gmem_fini(&m);
}

static void a_file_cut_anywhere_is_an_error(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    image_bzimage(&img);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    size_t enough = img.len - 15;
    for (img.len = 1; img.len < enough; img.len += img.len < 0x300 ? 1 : 97)
        assert_int_equal(image_load(&img, &m, BOOT_AUTO, &k, NULL), -ENOEXEC);
    gmem_fini(&m);
}

static void the_magic_must_be_whole(void **state)
{
    (void)state;
    struct image img;
    image_bzimage(&img);
    assert_true(kernel_bzimage_detect(img.bytes, 0x206));
    assert_false(kernel_bzimage_detect(img.bytes, 0x205));
    assert_false(kernel_bzimage_detect(img.bytes, 0));
    img.bytes[0x205] = 's';
    assert_false(kernel_bzimage_detect(img.bytes, img.len));
}

static void pvh_is_not_for_bzimages(void **state)
{
    (void)state;
    struct gmem m = {0};
    struct image img;
    struct kernel_image k;
    struct err e;
    image_bzimage(&img);
    assert_int_equal(layout_add_ram(&m, MEMORY_MIB, NULL), 0);
    assert_int_equal(image_load(&img, &m, BOOT_PVH, &k, &e), -ENOEXEC);
    assert_non_null(strstr(e.text, "no PVH entry point"));
    gmem_fini(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_image_is_copied_and_entered_0x200_bytes_in),
        cmocka_unit_test(the_setup_header_is_kept_for_the_zero_page),
        cmocka_unit_test(each_bad_field_is_named),
        cmocka_unit_test(odd_but_legal_fields_are_taken),
        cmocka_unit_test(a_file_cut_anywhere_is_an_error),
        cmocka_unit_test(the_magic_must_be_whole),
        cmocka_unit_test(pvh_is_not_for_bzimages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
