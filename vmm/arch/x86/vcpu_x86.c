/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a new vCPU is in the state after reset (SDM vol. 3A §10.1). What differs is written
 * here: CPUID first, because KVM checks the other registers against it; then the few MSRs that firmware would
 * set; then, for the first vCPU only, the state that the kernel's boot protocol asks for.
 */
#include "vmm/arch/x86/vcpu_x86.h"
#include "base/own.h"
#include "vmm/arch/x86/cpuid.h"
#include "vmm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

/* SDM vol. 4 table 2-2; checked against Linux's values in tests/vmm/test_regs.c. */
#define MSR_MISC_ENABLE         0x000001a0
#define MISC_ENABLE_FAST_STRING (UINT64_C(1) << 0)
#define MSR_MTRR_DEF_TYPE       0x000002ff
#define MTRR_ENABLE             (UINT64_C(1) << 11)
#define MTRR_WRITE_BACK         6

static int set_msrs(int vcpu_fd, unsigned index, struct err *e)
{
    static const struct kvm_msr_entry wanted[] = {
        {.index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
        /* All memory is write-back; without this it would be uncached, as nobody else sets the MTRRs up. */
        {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE | MTRR_WRITE_BACK},
    };
    union { /* the header ends in an array without a length: room for it */
        struct kvm_msrs head;
        uint8_t room[sizeof(struct kvm_msrs) + sizeof(wanted)];
    } msrs = {.head.nmsrs = ARRAY_LEN(wanted)};
    memcpy(msrs.head.entries, wanted, sizeof(wanted));

    int r = kvm_ioctl(vcpu_fd, KVM_SET_MSRS, &msrs.head);
    if (r < 0)
        return err_set(e, r, "cannot set the MSRs of vCPU %u: %s", index, strerror(-r));
    if ((size_t)r < ARRAY_LEN(wanted)) /* KVM stops at the first that it refuses */
        return err_set(e, -EINVAL, "KVM refuses MSR %#x of vCPU %u", wanted[r].index, index);
    return 0;
}

/* All states enabled from the start: see leave_out_protection_keys() in cpuid.c. */
static int set_xcr0(int vcpu_fd, unsigned index, uint64_t xcr0, struct err *e)
{
    struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = xcr0}}};
    int r = xcr0 ? kvm_ioctl(vcpu_fd, KVM_SET_XCRS, &xcrs) : 0;
    return r ? err_set(e, r, "KVM refuses XCR0 %#llx of vCPU %u: %s", (unsigned long long)xcr0, index,
                       strerror(-r))
             : 0;
}

int vcpu_x86_set_features(int vcpu_fd, unsigned index, struct kvm_cpuid2 *cpuid, struct err *e)
{
    int r = kvm_ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid);
    if (r)
        return err_set(e, r, "KVM refuses the CPUID of vCPU %u: %s", index, strerror(-r));
    r = set_xcr0(vcpu_fd, index, cpuid_xcr0(cpuid), e);
    return r ? r : set_msrs(vcpu_fd, index, e);
}

int vcpu_x86_set_entry(int vcpu_fd, const struct boot_entry *entry, struct err *e)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    int r = kvm_ioctl(vcpu_fd, KVM_GET_SREGS, &sregs);
    if (r)
        return err_set(e, r, "cannot read the registers of vCPU 0: %s", strerror(-r));
    boot_entry_registers(entry, &regs, &sregs);
    r = kvm_ioctl(vcpu_fd, KVM_SET_SREGS, &sregs);
    if (r)
        return err_set(e, r, "KVM refuses the mode in which the kernel begins: %s", strerror(-r));
    r = kvm_ioctl(vcpu_fd, KVM_SET_REGS, &regs);
    return r ? err_set(e, r, "KVM refuses the registers with which the kernel begins: %s", strerror(-r)) : 0;
}
