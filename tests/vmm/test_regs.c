/* SPDX-License-Identifier: Apache-2.0 */
/* Segments and control registers against the numbers in the manuals, written down a second time here. */
#include "vmm/arch/x86/regs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void descriptors_are_those_of_the_manual(void **state)
{
    (void)state;
    uint64_t gdt[BOOT_GDT_ENTRIES];
    struct kvm_segment code = regs_code64();
    regs_fill_gdt(gdt, &code);
    assert_int_equal(gdt[0], 0);
    assert_int_equal(gdt[2], UINT64_C(0x00af9b000000ffff)); /* flat 64-bit code, as Linux' own GDT has it */
    assert_int_equal(gdt[3], UINT64_C(0x00cf93000000ffff)); /* flat data */
    code = regs_code32();
    regs_fill_gdt(gdt, &code);
    assert_int_equal(gdt[2], UINT64_C(0x00cf9b000000ffff)); /* flat 32-bit code */
}

static void base_and_limit_go_to_their_places(void **state)
{
    (void)state;
    struct kvm_segment s = {.base = 0x12345678, .limit = 0xabcde, .type = 0x9, .present = 1, .dpl = 3};
    assert_int_equal(regs_descriptor(&s), UINT64_C(0x120ae9345678bcde));
}

static void long_mode_is_complete(void **state)
{
    (void)state;
    struct kvm_sregs s;
    memset(&s, 0xa5, sizeof(s));
    regs_long_mode(&s, 0x9000, 0x1000);
    assert_int_equal(s.cr0 & 0x80000001, 0x80000001); /* PG, PE */
    assert_int_equal(s.cr3, 0x9000);
    assert_int_equal(s.cr4, 0x20);   /* PAE */
    assert_int_equal(s.efer, 0x500); /* LMA, LME */
    assert_int_equal(s.cs.l, 1);
    assert_int_equal(s.cs.db, 0);
    assert_int_equal(s.cs.selector, 0x10);
    assert_int_equal(s.ss.selector, 0x18);
    assert_int_equal(s.gdt.base, 0x1000);
    assert_int_equal(s.gdt.limit, 31);
    assert_int_equal(s.idt.limit, 0);
    assert_int_equal(s.tr.type, 0xb);
    assert_int_equal(s.tr.s, 0);
    assert_int_equal(s.ldt.unusable, 1);
}

static void protected_mode_has_no_paging(void **state)
{
    (void)state;
    struct kvm_sregs s;
    memset(&s, 0xa5, sizeof(s));
    regs_protected_mode(&s, 0x1000);
    assert_int_equal(s.cr0 & 0x80000001, 1);
    assert_int_equal(s.cr4, 0);
    assert_int_equal(s.efer, 0);
    assert_int_equal(s.cs.l, 0);
    assert_int_equal(s.cs.db, 1);
    assert_int_equal(s.cs.limit, 0xffffffff);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_are_those_of_the_manual),
        cmocka_unit_test(base_and_limit_go_to_their_places),
        cmocka_unit_test(long_mode_is_complete),
        cmocka_unit_test(protected_mode_has_no_paging),
    };
    return cmocka_run_group_tests_name("regs", tests, NULL, NULL);
}
