/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device tree, compared with what is wanted in the tree compiler's own reading: both our blob and the
 * source below go through dtc, so that only the meaning counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/own.h"
#include "vmm/arch/x86/fdt.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>

#define ROOM (LAYOUT_SETUP_DATA_SIZE - 0x110)

static const char wanted[] = "/dts-v1/;"
                             "/ {"
                             "  compatible = \"cubby,x86-64\"; model = \"cubby\";"
                             "  #address-cells = <1>; #size-cells = <1>;"
                             "  cpus {"
                             "    #address-cells = <1>; #size-cells = <0>;"
                             "    cpu@0 { device_type = \"cpu\"; reg = <0>; };"
                             "    cpu@1 { device_type = \"cpu\"; reg = <1>; };"
                             "  };"
                             "  soc {"
                             "    compatible = \"simple-bus\";"
                             "    #address-cells = <1>; #size-cells = <1>; ranges;"
                             "    interrupt-parent = <1>;"
                             "    lapic@fee00000 {"
                             "      compatible = \"intel,ce4100-lapic\";"
                             "      reg = <0xfee00000 0x1000>;"
                             "      intel,virtual-wire-mode;"
                             "    };"
                             "    ioapic@fec00000 {"
                             "      compatible = \"intel,ce4100-ioapic\";"
                             "      reg = <0xfec00000 0x1000>;"
                             "      interrupt-controller; #interrupt-cells = <2>; #address-cells = <0>;"
                             "      phandle = <1>;"
                             "    };"
                             "    virtio_mmio@d0000000 {"
                             "      compatible = \"virtio,mmio\";"
                             "      reg = <0xd0000000 0x200>; interrupts = <0 3>;"
                             "    };"
                             "    virtio_mmio@d0000200 {"
                             "      compatible = \"virtio,mmio\";"
                             "      reg = <0xd0000200 0x200>; interrupts = <5 3>;"
                             "    };"
                             "  };"
                             "};";

/* Runs `dtc -I from -O to -s` over a file of these bytes; what it says (complaints too) ends up in `out`. */
static size_t run_dtc(const char *from, const char *to, const void *in, size_t len, char *out, size_t room)
{
    char path[] = "/tmp/test-fdt-XXXXXX", command[128];
    CLEANUP(fd_closep) int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, in, len), 0);
    snprintf(command, sizeof(command), "dtc -I %s -O %s -s %s 2>&1", from, to, path);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(out, 1, room - 1, p);
    out[n] = 0;
    int status = pclose(p);
    unlink(path);
    if (status)
        fail_msg("dtc (package device-tree-compiler): %s", out);
    return n;
}

static void the_tree_is_the_one_wanted(void **state)
{
    (void)state;
    static uint64_t blob[0x800];
    static char ours[0x4000], theirs[0x4000], theirs_blob[0x4000];
    struct boot_slot slots[] = {{layout_virtio_gpa(0), 0}, {layout_virtio_gpa(1), 5}};
    struct fdt_machine machine = {.cpus = 2, .nslots = 2, .slots = slots};
    uint32_t size;
    assert_int_equal(fdt_build(&machine, blob, sizeof(blob), &size, NULL), 0);
    run_dtc("dtb", "dts", blob, size, ours, sizeof(ours));
    size_t n = run_dtc("dts", "dtb", wanted, strlen(wanted), theirs_blob, sizeof(theirs_blob));
    run_dtc("dtb", "dts", theirs_blob, n, theirs, sizeof(theirs));
    assert_null(strstr(ours, "Warning"));
    assert_string_equal(ours, theirs);
}

static void the_header_is_what_linux_verifies(void **state)
{
    (void)state;
    static uint64_t blob[0x800];
    struct fdt_machine machine = {.cpus = 1};
    uint32_t size;
    assert_int_equal(fdt_build(&machine, blob, sizeof(blob), &size, NULL), 0);
    assert_int_equal(fdt_check_full(blob, size), 0);
    assert_int_equal(fdt_totalsize(blob), size);
    assert_int_equal(fdt_boot_cpuid_phys(blob), 0);
    assert_int_equal(fdt_num_mem_rsv(blob), 0);
}

static void every_cpu_has_its_node(void **state)
{
    (void)state;
    static uint64_t blob[ROOM / 8];
    struct fdt_machine machine = {.cpus = 1024};
    uint32_t size;
    assert_int_equal(fdt_build(&machine, blob, ROOM, &size, NULL), 0);
    int cpus = fdt_path_offset(blob, "/cpus"), node;
    uint32_t n = 0;
    assert_true(cpus > 0);
    fdt_for_each_subnode(node, blob, cpus)
    {
        int len;
        const fdt32_t *reg = fdt_getprop(blob, node, "reg", &len);
        assert_int_equal(len, 4);
        assert_int_equal(fdt32_to_cpu(*reg), n);
        assert_string_equal(fdt_getprop(blob, node, "device_type", NULL), "cpu");
        n++;
    }
    assert_int_equal(n, 1024);
}

static void many_slots_fit(void **state)
{
    (void)state;
    static uint64_t blob[ROOM / 8];
    static struct boot_slot slots[256];
    for (unsigned i = 0; i < 256; i++)
        slots[i] = (struct boot_slot){layout_virtio_gpa(i), i};
    struct fdt_machine machine = {.cpus = 64, .nslots = 256, .slots = slots};
    uint32_t size;
    assert_int_equal(fdt_build(&machine, blob, ROOM, &size, NULL), 0);
    int node = -1;
    unsigned n = 0;
    while ((node = fdt_node_offset_by_compatible(blob, node, "virtio,mmio")) >= 0) {
        const fdt32_t *irq = fdt_getprop(blob, node, "interrupts", NULL);
        const fdt32_t *reg = fdt_getprop(blob, node, "reg", NULL);
        assert_int_equal(fdt32_to_cpu(irq[0]), n);
        assert_int_equal(fdt32_to_cpu(irq[1]), FDT_IOAPIC_EDGE_RISING);
        assert_int_equal(fdt32_to_cpu(reg[0]), layout_virtio_gpa(n));
        n++;
    }
    assert_int_equal(n, 256);
}

static void a_tree_that_does_not_fit_is_an_error_at_every_size(void **state)
{
    (void)state;
    static uint64_t blob[0x800];
    struct boot_slot slot = {layout_virtio_gpa(0), 1};
    struct fdt_machine machine = {.cpus = 2, .nslots = 1, .slots = &slot};
    uint32_t size, dummy;
    struct err e;
    assert_int_equal(fdt_build(&machine, blob, sizeof(blob), &size, NULL), 0);
    for (uint32_t room = 0; room < size; room += 4) {
        memset(blob, 0xa5, sizeof(blob));
        assert_int_equal(fdt_build(&machine, blob, room, &dummy, &e), -ENOSPC);
        for (size_t i = room; i < sizeof(blob); i++)
            assert_int_equal(((uint8_t *)blob)[i], 0xa5);
    }
    assert_non_null(strstr(e.text, "2 CPUs and 1 devices"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_is_the_one_wanted),
        cmocka_unit_test(the_header_is_what_linux_verifies),
        cmocka_unit_test(every_cpu_has_its_node),
        cmocka_unit_test(many_slots_fit),
        cmocka_unit_test(a_tree_that_does_not_fit_is_an_error_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
