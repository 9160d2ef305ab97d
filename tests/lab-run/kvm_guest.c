/* SPDX-License-Identifier: Apache-2.0
 *
 * The smallest KVM guest that shows that KVM works: real-mode code that adds two
 * numbers, writes the sum to a port, and halts. Prints what it saw; exits 0 if
 * that is right. With an argument N, does so N times over in one VM.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static const uint8_t code[] = {
    0xba, 0xf8, 0x03, /* mov dx, 0x3f8 */
    0x00, 0xd8,       /* add al, bl */
    0xee,             /* out dx, al */
    0xf4,             /* hlt */
};

enum { CODE_AT = 0x1000 };

static int check(int rc, const char *what)
{
    if (rc < 0) {
        perror(what);
        exit(1);
    }
    return rc;
}

static void set_registers(int vcpu)
{
    struct kvm_regs regs = {.rip = CODE_AT, .rax = 2, .rbx = 3, .rflags = 2};
    struct kvm_sregs sregs;

    check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = sregs.cs.selector = 0;
    check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* Runs the guest until it halts; returns what it wrote to the port. */
static int run_guest(int vcpu, const struct kvm_run *run)
{
    int written = -1;

    set_registers(vcpu);
    for (;;) {
        check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
        switch (run->exit_reason) {
        case KVM_EXIT_IO:
            written = *((const uint8_t *)run + run->io.data_offset);
            break;
        case KVM_EXIT_HLT:
            return written;
        default:
            fprintf(stderr, "exit reason %u\n", run->exit_reason);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    int times = argc > 1 ? atoi(argv[1]) : 1;
    int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    uint8_t *mem = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct kvm_userspace_memory_region region = {
        .memory_size = 0x10000,
        .userspace_addr = (uintptr_t)mem,
    };
    int vcpu, size;
    struct kvm_run *run;

    memcpy(mem + CODE_AT, code, sizeof(code));
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
    vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    while (times-- > 0) {
        int written = run_guest(vcpu, run);

        if (written != 5) {
            fprintf(stderr, "the guest wrote %d\n", written);
            return 1;
        }
    }
    puts("2+3=5, said the guest");
    return 0;
}
