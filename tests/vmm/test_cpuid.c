/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID made consistent: tables as KVM might give them, and what a guest then reads. */
#include "vmm/arch/x86/cpuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX

static const struct kvm_cpuid_entry2 sample[] = {
    {.function = 0, .eax = 0x1f},
    {.function = 1, .ebx = 0x07100800, .ecx = 0x00200000, .edx = 0x178bfbff},
    {.function = 4, .index = 0, .flags = INDEXED, .eax = 0x7c004121},
    {.function = 4, .index = 3, .flags = INDEXED, .eax = 0x7c07c163},
    {.function = 4, .index = 4, .flags = INDEXED, .eax = 0},
    {.function = 7, .index = 0, .flags = INDEXED, .ecx = 0x18},
    {.function = 0xa, .eax = 0x07300402},
    {.function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100, .edx = 9},
    {.function = 0xd, .index = 0, .flags = INDEXED, .eax = 0x207, .ebx = 576, .ecx = 2696},
    {.function = 0xd, .index = 1, .flags = INDEXED, .eax = 5},
    {.function = 0xd, .index = 2, .flags = INDEXED, .eax = 256, .ebx = 576},
    {.function = 0xd, .index = 9, .flags = INDEXED, .eax = 8, .ebx = 2688},
    {.function = 0x40000000, .eax = 0x40000001, .ebx = 0x4b4d564b},
    {.function = 0x40000001, .eax = 0x01007efb},
    {.function = 0x80000008, .eax = 0x3030, .ecx = 0x7007},
    {.function = 0x8000001d, .index = 3, .flags = INDEXED, .eax = 0x0001c163},
    {.function = 0x8000001e, .eax = 5, .ebx = 0x0102, .ecx = 0x0101},
};

#define NSAMPLE (sizeof(sample) / sizeof(sample[0]))

/* A table as cpuid_supported() gives it. The caller frees it. */
static struct kvm_cpuid2 *make(void)
{
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + (NSAMPLE + CPUID_SPARE) * sizeof(c->entries[0]));
    assert_non_null(c);
    c->nent = NSAMPLE;
    memcpy(c->entries, sample, sizeof(sample));
    return c;
}

static struct kvm_cpuid2 *prepared(unsigned cpus, uint32_t tsc_khz, bool nested)
{
    struct kvm_cpuid2 *c = make();
    struct cpuid_machine m = {.cpus = cpus, .tsc_khz = tsc_khz, .nested = nested};
    cpuid_prepare(c, &m);
    assert_in_range(c->nent, NSAMPLE, NSAMPLE + CPUID_SPARE);
    return c;
}

static void hypervisor_and_deadline_timer_are_announced(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(1, 0, false);
    assert_int_equal(cpuid_find(c, 1, 0)->ecx, 0x00200000u | 1u << 31 | 1u << 24);
    free(c);
}

static void one_processor_is_not_hyperthreaded(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(1, 0, false);
    assert_int_equal(cpuid_find(c, 1, 0)->edx & 1u << 28, 0);
    assert_int_equal(cpuid_find(c, 1, 0)->ebx >> 16 & 0xff, 1);
    free(c);
    c = prepared(4, 0, false);
    assert_int_not_equal(cpuid_find(c, 1, 0)->edx & 1u << 28, 0);
    assert_int_equal(cpuid_find(c, 1, 0)->ebx >> 16 & 0xff, 4);
    assert_int_equal(cpuid_find(c, 1, 0)->ebx & 0xff00, 0x0800); /* the cache line's size stays */
    free(c);
}

static void each_vcpu_has_its_apic_id_everywhere(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(64, 0, false);
    for (uint32_t id = 0; id < 64; id++) {
        cpuid_set_apic_id(c, id);
        assert_int_equal(cpuid_find(c, 1, 0)->ebx >> 24, id);
        for (uint32_t sub = 0; sub < 2; sub++) {
            assert_int_equal(cpuid_find(c, 0xb, sub)->edx, id);
            assert_int_equal(cpuid_find(c, 0x1f, sub)->edx, id);
        }
        assert_int_equal(cpuid_find(c, 0x8000001e, 0)->eax, id);
        assert_int_equal(cpuid_find(c, 0x8000001e, 0)->ebx & 0xff, id);
    }
    free(c);
}

static void topology_is_one_package_of_single_threaded_cores(void **state)
{
    (void)state;
    static const struct {
        unsigned cpus;
        uint32_t shift;
    } cases[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {16, 4}, {33, 6}, {64, 6}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kvm_cpuid2 *c = prepared(cases[i].cpus, 0, false);
        for (uint32_t leaf = 0xb; leaf <= 0x1f; leaf += 0x14) {
            assert_int_equal(cpuid_find(c, leaf, 0)->eax, 0);
            assert_int_equal(cpuid_find(c, leaf, 0)->ebx, 1);
            assert_int_equal(cpuid_find(c, leaf, 0)->ecx, 0x100);
            assert_int_equal(cpuid_find(c, leaf, 1)->eax, cases[i].shift);
            assert_int_equal(cpuid_find(c, leaf, 1)->ebx, cases[i].cpus);
            assert_int_equal(cpuid_find(c, leaf, 1)->ecx, 0x201);
        }
        assert_int_equal(cpuid_find(c, 0x80000008, 0)->ecx, cases[i].shift << 12 | (cases[i].cpus - 1));
        assert_int_equal(cpuid_find(c, 0x8000001e, 0)->ebx & 0xff00, 0);
        assert_int_equal(cpuid_find(c, 0x8000001e, 0)->ecx, 0);
        free(c);
    }
}

static void only_the_last_cache_is_shared(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(4, 0, false);
    assert_int_equal(cpuid_find(c, 4, 0)->eax, 0x0c000121);
    assert_int_equal(cpuid_find(c, 4, 3)->eax, 0x0c00c163);
    assert_int_equal(cpuid_find(c, 4, 4)->eax, 0); /* the end of the list stays the end */
    assert_int_equal(cpuid_find(c, 0x8000001d, 3)->eax, 0x0000c163);
    free(c);
}

static void performance_counters_are_absent(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(1, 0, false);
    assert_int_equal(cpuid_find(c, 0xa, 0)->eax, 0);
    free(c);
}

static void frequencies_are_told_when_known(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(1, 2445424, false);
    assert_int_equal(cpuid_find(c, 0x40000000, 0)->eax, 0x40000010);
    assert_int_equal(cpuid_find(c, 0x40000010, 0)->eax, 2445424);
    assert_int_equal(cpuid_find(c, 0x40000010, 0)->ebx, 1000000);
    free(c);
    c = prepared(1, 0, false);
    assert_int_equal(cpuid_find(c, 0x40000000, 0)->eax, 0x40000001);
    assert_null(cpuid_find(c, 0x40000010, 0));
    free(c);
}

static void protection_keys_stay_unless_nested(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = prepared(1, 0, false);
    assert_int_equal(cpuid_find(c, 7, 0)->ecx & 8, 8);
    assert_int_equal(cpuid_xcr0(c), 0x207);
    assert_int_equal(cpuid_find(c, 0xd, 0)->ecx, 2696);
    free(c);
    c = prepared(1, 0, true);
    assert_int_equal(cpuid_find(c, 7, 0)->ecx & 0x18, 0);
    assert_int_equal(cpuid_xcr0(c), 7);
    assert_int_equal(cpuid_find(c, 0xd, 0)->ecx, 576 + 256); /* up to the end of AVX */
    assert_int_equal(cpuid_find(c, 0xd, 9)->eax, 0);
    free(c);
}

static void tables_without_the_leaves_are_left_alone(void **state)
{
    (void)state;
    struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + (1 + CPUID_SPARE) * sizeof(c->entries[0]));
    assert_non_null(c);
    c->nent = 1; /* leaf 0, maximum 0 */
    struct cpuid_machine m = {.cpus = 2, .tsc_khz = 1, .nested = true};
    cpuid_prepare(c, &m);
    cpuid_set_apic_id(c, 1);
    assert_int_equal(c->nent, 1);
    assert_int_equal(cpuid_xcr0(c), 0);
    assert_null(cpuid_find(c, 1, 0));
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hypervisor_and_deadline_timer_are_announced),
        cmocka_unit_test(one_processor_is_not_hyperthreaded),
        cmocka_unit_test(each_vcpu_has_its_apic_id_everywhere),
        cmocka_unit_test(topology_is_one_package_of_single_threaded_cores),
        cmocka_unit_test(only_the_last_cache_is_shared),
        cmocka_unit_test(performance_counters_are_absent),
        cmocka_unit_test(frequencies_are_told_when_known),
        cmocka_unit_test(protection_keys_stay_unless_nested),
        cmocka_unit_test(tables_without_the_leaves_are_left_alone),
    };
    return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}
