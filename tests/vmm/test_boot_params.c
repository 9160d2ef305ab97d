/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86_boot_setup() as a whole: what a kernel finds through its registers. The zero page is read with the
 * offsets of zero-page.rst and boot.rst, as a second source beside the struct.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/own.h"
#include "tests/vmm/images.h"
#include "vmm/arch/x86/boot_params.h"
#include "vmm/arch/x86/regs.h"

#include <errno.h>
#include <libfdt.h>
#include <unistd.h>

/* A machine to be booted, and the files for it. */
struct boot {
    struct gmem m;
    struct image kernel;
    struct boot_slot slots[2];
    struct boot_source src;
    struct boot_entry entry;
    struct err e;
};

static void boot_open(struct boot *b, uint64_t memory_mib)
{
    *b = (struct boot){.slots = {{layout_virtio_gpa(0), 0}, {layout_virtio_gpa(1), 1}}};
    b->src = (struct boot_source){
        .kernel_fd = -1,
        .kernel_path = IMAGE_NAME,
        .initrd_fd = -1,
        .initrd_path = "the-initrd",
        .cmdline = "console=hvc0 quiet",
        .cpus = 2,
        .nslots = 2,
        .slots = b->slots,
        .ioapic_pins = 2,
    };
    image_elf(&b->kernel);
    assert_int_equal(layout_add_ram(&b->m, memory_mib, NULL), 0);
}

static int boot_run(struct boot *b)
{
    CLEANUP(fd_closep) int fd = image_file(b->kernel.bytes, b->kernel.len);
    b->src.kernel_fd = fd;
    return x86_boot_setup(&b->m, &b->src, &b->entry, &b->e);
}

static void boot_close(struct boot *b)
{
    gmem_fini(&b->m);
    if (b->src.initrd_fd >= 0)
        close(b->src.initrd_fd);
}

static uint64_t field(const struct boot *b, gpa_t at, unsigned width)
{
    uint8_t bytes[8] = {0};
    assert_int_equal(gmem_read(&b->m, at, bytes, width), 0);
    return load_le64(bytes);
}

static void cpu_0_begins_in_64_bit_mode_with_the_zero_page(void **state)
{
    (void)state;
    struct boot b;
    struct kvm_regs regs;
    struct kvm_sregs sregs = {.apic_base = 0xfee00900};
    boot_open(&b, 64);
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.mode, ENTRY_LONG64);
    boot_entry_registers(&b.entry, &regs, &sregs);
    struct kvm_regs wanted = {
        .rip = ELF_ENTRY, .rsi = LAYOUT_ZERO_PAGE, .rsp = LAYOUT_STACK_TOP, .rflags = 2};
    assert_memory_equal(&regs, &wanted, sizeof(regs));
    assert_int_equal(sregs.cr3, LAYOUT_PAGE_TABLES);
    assert_int_equal(sregs.gdt.base, LAYOUT_GDT);
    assert_int_equal(sregs.cs.selector, 0x10);
    assert_int_equal(sregs.cs.l, 1);
    assert_int_equal(sregs.efer, 0x500); /* LME, LMA */
    assert_int_equal(sregs.apic_base, 0xfee00900);
    assert_int_equal(field(&b, LAYOUT_PAGE_TABLES, 8), (LAYOUT_PAGE_TABLES + 0x1000) | 3);
    assert_int_equal(field(&b, LAYOUT_GDT + 0x10, 8), UINT64_C(0x00af9b000000ffff));
    assert_int_equal(b.entry.kernel_start, ELF_TEXT);
    assert_int_equal(b.entry.kernel_end, ELF_TEXT + 0x6000);
    assert_int_equal(b.entry.initrd_start, 0);
    boot_close(&b);
}

static void pvh_begins_in_32_bit_mode_with_the_start_info(void **state)
{
    (void)state;
    struct boot b;
    struct kvm_regs regs;
    struct kvm_sregs sregs = {0};
    boot_open(&b, 64);
    image_note(&b.kernel, 0, "Xen", 18, "\x40\0\0\x01", 4);
    b.src.initrd_fd = image_file("initrd", 6);
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.mode, ENTRY_PVH32);
    boot_entry_registers(&b.entry, &regs, &sregs);
    assert_int_equal(regs.rip, ELF_TEXT + 0x40);
    assert_int_equal(regs.rbx, LAYOUT_PVH_INFO);
    assert_int_equal(regs.rsi, 0);
    assert_int_equal(sregs.cr0 & ~UINT64_C(0x10), 1); /* PE and nothing else but ET */
    assert_int_equal(sregs.cr4 | sregs.efer, 0);
    assert_int_equal(sregs.cs.db, 1);
    assert_int_equal(field(&b, LAYOUT_GDT + 0x10, 8), UINT64_C(0x00cf9b000000ffff));
    assert_int_equal(field(&b, LAYOUT_PVH_INFO, 4), 0x336ec578);
    assert_int_equal(field(&b, LAYOUT_PVH_INFO + 12, 4), 1);
    assert_string_equal(gmem_ptr(&b.m, LAYOUT_CMDLINE, 0x100),
                        "console=hvc0 quiet virtio_mmio.device=512@0xd0000000:0 "
                        "virtio_mmio.device=512@0xd0000200:1");
    assert_memory_equal(gmem_ptr(&b.m, 0xf0000, 4), "_MP_", 4);
    /* No zero page: nobody would read it. */
    assert_int_equal(field(&b, LAYOUT_ZERO_PAGE + 0x1fe, 2), 0);
    boot_close(&b);
}

static void the_zero_page_says_what_the_boot_protocol_asks(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 6144);
    assert_int_equal(boot_run(&b), 0);
    gpa_t z = LAYOUT_ZERO_PAGE;
    assert_int_equal(field(&b, z + 0x1ef, 1), 0);          /* sentinel */
    assert_int_equal(field(&b, z + 0x1fe, 2), 0xaa55);     /* boot_flag */
    assert_int_equal(field(&b, z + 0x202, 4), 0x53726448); /* "HdrS" */
    assert_int_equal(field(&b, z + 0x206, 2), 0x020f);     /* version; Linux wants it not to be 0 */
    assert_int_equal(field(&b, z + 0x210, 1), 0xff);       /* type_of_loader */
    assert_int_equal(field(&b, z + 0x211, 1), 1);          /* loadflags: LOADED_HIGH */
    assert_int_equal(field(&b, z + 0x218, 8), 0);          /* ramdisk_image, ramdisk_size */
    assert_int_equal(field(&b, z + 0x228, 4), LAYOUT_CMDLINE);
    assert_int_equal(field(&b, z + 0x23c, 4), 0); /* hardware_subarch: PC */
    assert_int_equal(field(&b, z + 0x250, 8), LAYOUT_SETUP_DATA);
    assert_int_equal(field(&b, z + 0x0c0, 8), 0); /* ext_ramdisk_* */
    assert_int_equal(field(&b, z + 0x0c8, 4), 0); /* ext_cmd_line_ptr */
    assert_int_equal(field(&b, z + 0x070, 8), 0); /* acpi_rsdp_addr */
    assert_string_equal(gmem_ptr(&b.m, LAYOUT_CMDLINE, 0x100), "console=hvc0 quiet");
    static const uint64_t map[3][2] = {{0, 0xa0000}, {0x100000, 0xbff00000}, {0x100000000, 0xc0000000}};
    assert_int_equal(field(&b, z + 0x1e8, 1), 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(field(&b, z + 0x2d0 + 20 * i, 8), map[i][0]);
        assert_int_equal(field(&b, z + 0x2d0 + 20 * i + 8, 8), map[i][1]);
        assert_int_equal(field(&b, z + 0x2d0 + 20 * i + 16, 4), 1);
    }
    boot_close(&b);
}

/* The chain as Linux walks it: next (8 bytes), type (4), length (4), data. */
static void setup_data_carries_a_seed_and_the_tree(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 64);
    assert_int_equal(boot_run(&b), 0);
    gpa_t node = field(&b, LAYOUT_ZERO_PAGE + 0x250, 8);
    assert_int_equal(field(&b, node + 8, 4), 9); /* SETUP_RNG_SEED */
    assert_true(field(&b, node + 12, 4) >= 32);
    assert_true(field(&b, node + 16, 8) != 0 || field(&b, node + 24, 8) != 0);
    node = field(&b, node, 8);
    assert_int_equal(field(&b, node, 8), 0);
    assert_int_equal(field(&b, node + 8, 4), 2); /* SETUP_DTB */
    uint32_t len = (uint32_t)field(&b, node + 12, 4);
    const void *tree = gmem_ptr(&b.m, node + 16, len);
    assert_non_null(tree);
    assert_int_equal((uintptr_t)tree % 8, 0);
    assert_int_equal(fdt_check_full(tree, len), 0);
    assert_true(fdt_path_offset(tree, "/cpus/cpu@1") > 0);
    assert_true(fdt_path_offset(tree, "/cpus/cpu@2") < 0);
    assert_true(fdt_path_offset(tree, "/soc/virtio_mmio@d0000200") > 0);
    boot_close(&b);
}

static void no_two_machines_get_the_same_seed(void **state)
{
    (void)state;
    struct boot a, b;
    boot_open(&a, 64);
    boot_open(&b, 64);
    assert_int_equal(boot_run(&a), 0);
    assert_int_equal(boot_run(&b), 0);
    assert_memory_not_equal(gmem_ptr(&a.m, LAYOUT_SETUP_DATA + 16, 64),
                            gmem_ptr(&b.m, LAYOUT_SETUP_DATA + 16, 64), 64);
    boot_close(&a);
    boot_close(&b);
}

static void a_bzimage_keeps_its_own_setup_header(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 64);
    image_bzimage(&b.kernel);
    b.src.initrd_fd = image_file("initrd", 6);
    assert_int_equal(boot_run(&b), 0);
    gpa_t z = LAYOUT_ZERO_PAGE;
    assert_int_equal(field(&b, z + 0x1f1, 1), 1);                    /* setup_sects */
    assert_int_equal(field(&b, z + 0x230, 4), 0x200000);             /* kernel_alignment */
    assert_int_equal(field(&b, z + 0x260, 4), BZ_INIT_SIZE);         /* init_size */
    assert_int_equal(field(&b, z + 0x210, 1), 0xff);                 /* type_of_loader: ours */
    assert_int_equal(field(&b, z + 0x218, 4), b.entry.initrd_start); /* ramdisk_image */
    assert_int_equal(field(&b, z + 0x21c, 4), 6);                    /* ramdisk_size */
    assert_int_equal(field(&b, z + 0x250, 8), LAYOUT_SETUP_DATA);
    assert_int_equal(b.entry.rip, 0x1000200);
    boot_close(&b);
}

static void the_initrd_ends_with_low_ram(void **state)
{
    (void)state;
    static const struct {
        uint64_t memory_mib;
        gpa_t end;
    } cases[] = {{32, 0x2000000}, {3072, 0xc0000000}, {6144, 0xc0000000}};
    static uint8_t bytes[0x2345];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = image_byte(i);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int map = 0; map < 2; map++) {
            struct boot b;
            boot_open(&b, cases[i].memory_mib);
            b.src.map = map;
            b.src.initrd_fd = image_file(bytes, sizeof(bytes));
            assert_int_equal(boot_run(&b), 0);
            assert_int_equal(b.entry.initrd_start, cases[i].end - 0x3000);
            assert_int_equal(b.entry.initrd_size, sizeof(bytes));
            assert_int_equal(field(&b, LAYOUT_ZERO_PAGE + 0x218, 4), cases[i].end - 0x3000);
            assert_int_equal(field(&b, LAYOUT_ZERO_PAGE + 0x21c, 4), sizeof(bytes));
            assert_memory_equal(gmem_ptr(&b.m, b.entry.initrd_start, sizeof(bytes)), bytes, sizeof(bytes));
            boot_close(&b);
        }
    }
}

static void a_bzimage_limits_where_the_initrd_ends(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 3072);
    image_bzimage(&b.kernel);
    b.src.initrd_fd = image_file("initrd", 6);
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.initrd_start, 0x7ffff000);
    image_poke(&b.kernel, 0x22c, 4, 0x1900fff); /* initrd_addr_max */
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.initrd_start, 0x1900000);
    image_poke(&b.kernel, 0x22c, 4, 0x1900ffe);
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.initrd_start, 0x18ff000);
    image_poke(&b.kernel, 0x22c, 4, 0); /* below the kernel: there is no place */
    assert_int_equal(boot_run(&b), -ENOMEM);
    assert_non_null(strstr(b.e.text, "initrd 'the-initrd'"));
    boot_close(&b);
}

static void an_initrd_too_large_says_how_much_memory_is_needed(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 32);
    gpa_t room = 32 * LAYOUT_MIB - (ELF_TEXT + 0x6000);
    b.src.initrd_fd = image_file("", 0);
    assert_int_equal(ftruncate(b.src.initrd_fd, (off_t)room), 0);
    assert_int_equal(boot_run(&b), 0);
    assert_int_equal(b.entry.initrd_start, b.entry.kernel_end);

    assert_int_equal(ftruncate(b.src.initrd_fd, (off_t)room + 1), 0);
    assert_int_equal(boot_run(&b), -ENOMEM);
    assert_string_equal(b.e.text,
                        "initrd 'the-initrd' does not fit into memory beside the kernel: at least 33 MiB "
                        "are needed, there are 32");

    /* Larger than any machine's low memory: sparse, so it costs nothing. */
    assert_int_equal(ftruncate(b.src.initrd_fd, (off_t)1 << 40), 0);
    assert_int_equal(boot_run(&b), -ENOMEM);
    assert_non_null(strstr(b.e.text, "is too large"));
    assert_int_equal(ftruncate(b.src.initrd_fd, INT64_MAX), 0);
    assert_int_equal(boot_run(&b), -ENOMEM);
    boot_close(&b);
}

static void an_initrd_that_is_no_file_is_refused(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 32);
    b.src.initrd_fd = image_file("", 0);
    assert_int_equal(boot_run(&b), -EINVAL);
    assert_string_equal(b.e.text, "initrd 'the-initrd' is empty");
    boot_close(&b);
}

static void a_command_line_is_whole_or_an_error(void **state)
{
    (void)state;
    static char line[LAYOUT_CMDLINE_MAX + 2];
    struct boot b;
    boot_open(&b, 32);
    memset(line, 'x', sizeof(line) - 1);
    b.src.cmdline = line + sizeof(line) - 1 - 2047;
    assert_int_equal(boot_run(&b), 0);
    assert_string_equal(gmem_ptr(&b.m, LAYOUT_CMDLINE, LAYOUT_CMDLINE_MAX), b.src.cmdline);
    b.src.cmdline--;
    assert_int_equal(boot_run(&b), -E2BIG);
    assert_non_null(strstr(b.e.text, "has 2048 characters; it would be cut to 2047"));

    image_bzimage(&b.kernel);
    image_poke(&b.kernel, 0x238, 4, UINT32_MAX); /* cmdline_size: our area is the limit then */
    b.src.cmdline = line + sizeof(line) - LAYOUT_CMDLINE_MAX;
    assert_int_equal(boot_run(&b), 0);
    b.src.cmdline--;
    assert_int_equal(boot_run(&b), -E2BIG);
    boot_close(&b);

    boot_open(&b, 32);
    b.src.cmdline = NULL;
    assert_int_equal(boot_run(&b), 0);
    assert_string_equal(gmem_ptr(&b.m, LAYOUT_CMDLINE, 1), "");
    boot_close(&b);
}

static void a_machine_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct boot_slot slots[2];
        const char *says;
    } cases[] = {
        {{{LAYOUT_VIRTIO_BASE, 0}, {LAYOUT_VIRTIO_BASE + 0x200, 2}}, "slot 1 has pin 2, the I/O APIC has 2"},
        {{{LAYOUT_VIRTIO_BASE, 0}, {LAYOUT_VIRTIO_BASE + 0x200, 0}}, "slots 0 and 1 share"},
        {{{LAYOUT_VIRTIO_BASE, 0}, {LAYOUT_VIRTIO_BASE, 1}}, "slots 0 and 1 share"},
        {{{LAYOUT_VIRTIO_BASE + 0x100, 0}, {LAYOUT_VIRTIO_BASE, 1}}, "slot 0 at 0xd0000100"},
        {{{0x100000, 0}, {LAYOUT_VIRTIO_BASE, 1}}, "slot 0 at 0x100000"},
        {{{LAYOUT_IOAPIC, 0}, {LAYOUT_VIRTIO_BASE, 1}}, "slot 0 at 0xfec00000"},
        {{{LAYOUT_HIGH_RAM, 0}, {LAYOUT_VIRTIO_BASE, 1}}, "slot 0 at 0x100000000"},
    };
    struct boot b;
    boot_open(&b, 32);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memcpy(b.slots, cases[i].slots, sizeof(b.slots));
        assert_int_equal(boot_run(&b), -EINVAL);
        assert_non_null(strstr(b.e.text, cases[i].says));
    }
    b.src.nslots = 0;
    assert_int_equal(boot_run(&b), 0);
    b.src.cpus = 0;
    assert_int_equal(boot_run(&b), -EINVAL);
    assert_non_null(strstr(b.e.text, "at least one CPU"));
    b.src.cpus = 100000;
    assert_int_equal(boot_run(&b), -ENOSPC);
    assert_non_null(strstr(b.e.text, "100000 CPUs"));
    boot_close(&b);

    boot_open(&b, 32);
    gmem_fini(&b.m);
    assert_int_equal(boot_run(&b), -EINVAL);
    assert_non_null(strstr(b.e.text, "less than 32 MiB"));
    boot_close(&b);
}

static void a_missing_kernel_is_named(void **state)
{
    (void)state;
    struct boot b;
    boot_open(&b, 32);
    assert_int_equal(x86_boot_setup(&b.m, &b.src, &b.entry, &b.e), -EBADF);
    assert_non_null(strstr(b.e.text, "kernel '" IMAGE_NAME "'"));
    boot_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_0_begins_in_64_bit_mode_with_the_zero_page),
        cmocka_unit_test(pvh_begins_in_32_bit_mode_with_the_start_info),
        cmocka_unit_test(the_zero_page_says_what_the_boot_protocol_asks),
        cmocka_unit_test(setup_data_carries_a_seed_and_the_tree),
        cmocka_unit_test(no_two_machines_get_the_same_seed),
        cmocka_unit_test(a_bzimage_keeps_its_own_setup_header),
        cmocka_unit_test(the_initrd_ends_with_low_ram),
        cmocka_unit_test(a_bzimage_limits_where_the_initrd_ends),
        cmocka_unit_test(an_initrd_too_large_says_how_much_memory_is_needed),
        cmocka_unit_test(an_initrd_that_is_no_file_is_refused),
        cmocka_unit_test(a_command_line_is_whole_or_an_error),
        cmocka_unit_test(a_machine_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_missing_kernel_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
