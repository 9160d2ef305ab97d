/* SPDX-License-Identifier: Apache-2.0 */
/* From a device's eventfd through the I/O APIC and KVM to a vector in the guest, and kicks the other way. */
#include "tests/kvm/guest.h"
#include "vmm/kvm.h"
#include "vmm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

/*
 * A guest with an IDT at 0x50000 whose gate 0x40 leads to `handler`, and its local APIC on: runs `body`. The
 * gate is built as in SDM vol. 3A figure 6-8. rbx: the test's device, rbp: the I/O APIC, r8: the local APIC.
 */
#define GUEST_IRQ(name, body, handler)                                                                       \
    GUEST(name, "lea 90f(%rip), %rax\n"                                                                      \
                "mov $0x50400, %edi\n"                                                                       \
                "mov %ax, (%rdi)\n"                                                                          \
                "movw $0x10, 2(%rdi)\n"                                                                      \
                "movw $0x8e00, 4(%rdi)\n"                                                                    \
                "shr $16, %rax\n"                                                                            \
                "mov %ax, 6(%rdi)\n"                                                                         \
                "lea 91f(%rip), %rax\n"                                                                      \
                "lidt (%rax)\n"                                                                              \
                "mov $" DEVICE ", %ebx\n"                                                                    \
                "mov $0xfec00000, %ebp\n"                                                                    \
                "mov $0xfee00000, %r8d\n"                                                                    \
                "movl $0x1ff, 0xf0(%r8)\n" body "91: .word 0x40f\n.quad 0x50000\n"                           \
                "90:\n" handler "movl $0, 0xb0(%r8)\niretq\n") /* end of interrupt */

/* Writes to the redirection entry of pin 0. */
#define TO_APIC_0    "movl $0x11, (%rbp)\nmovl $0, 0x10(%rbp)\n"
#define TO_APIC_0x77 "movl $0x11, (%rbp)\nmovl $0x77000000, 0x10(%rbp)\n"
#define MASK_40      "movl $0x10, (%rbp)\nmovl $0x10040, 0x10(%rbp)\n"
#define UNMASK_40    "movl $0x10, (%rbp)\nmovl $0x40, 0x10(%rbp)\n"
#define MASK_41      "movl $0x10, (%rbp)\nmovl $0x10041, 0x10(%rbp)\n"
#define UNMASK_41    "movl $0x10, (%rbp)\nmovl $0x41, 0x10(%rbp)\n"
#define UNMASK_5     "movl $0x10, (%rbp)\nmovl $0x05, 0x10(%rbp)\n" /* a vector that is an exception's */

/* What the guest tells the device: raise the pin; I am in the handler; I go on. */
#define RAISE   "movl $1, (%rbx)\n"
#define HANDLED "movl $2, (%rbx)\n"
#define GOES_ON "movl $3, (%rbx)\n"

#define WAIT "sti\nhlt\ncli\n" /* hlt comes before any interrupt that sti lets through */

/* The device, told by a write of 1, raises pin 0. */
static void raise_pin0(struct guest *g, const struct access *a)
{
    const uint64_t one = 1;
    if (a->value == 1)
        assert_int_equal(write(machine_slot_irq_fd(g->vm->machine, 0), &one, sizeof(one)), sizeof(one));
}

GUEST_IRQ(plain, UNMASK_40 RAISE WAIT POWER_OFF, HANDLED);

static void edge_reaches_the_vector(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.on_write = raise_pin0;
    GUEST_RUN(&g, plain);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 2);
    expect_write(&g, 1, 0, 4, 2);
    guest_fini(&g);
}

/* Raised while masked; it must arrive when unmasked, not before (3 comes in between). */
GUEST_IRQ(masked, MASK_40 RAISE "sti\nnop\n" GOES_ON "cli\n" UNMASK_40 WAIT POWER_OFF, HANDLED);

static void edge_while_masked_is_not_lost(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.on_write = raise_pin0;
    GUEST_RUN(&g, masked);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 3);
    expect_write(&g, 1, 0, 4, 3);
    expect_write(&g, 2, 0, 4, 2);
    guest_fini(&g);
}

/* Unmasked, masked, raised, unmasked with another vector's route first: the route in force is the last one.
 */
GUEST_IRQ(again, UNMASK_41 MASK_41 RAISE MASK_40 UNMASK_40 WAIT RAISE WAIT POWER_OFF, HANDLED);

static void pins_can_be_masked_and_routed_anew(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.on_write = raise_pin0;
    GUEST_RUN(&g, again);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 4);
    for (unsigned i = 0; i < 4; i++)
        expect_write(&g, i, 0, 4, 1 + i % 2);
    guest_fini(&g);
}

/* A route to an APIC that does not exist, and to vectors that are not allowed: nothing arrives, nothing
 * breaks. */
GUEST_IRQ(nowhere,
          TO_APIC_0x77 UNMASK_40 RAISE TO_APIC_0 MASK_41 UNMASK_5 RAISE MASK_40 "sti\nnop\ncli\n" POWER_OFF,
          HANDLED);

static void routes_to_nowhere_do_no_harm(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.on_write = raise_pin0;
    GUEST_RUN(&g, nowhere);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 2);
    guest_fini(&g);
}

/* The slot's notify register with the number of a queue that the console has. */
GUEST(kick, "mov $0xd0000000, %eax\n"
            "movl $0, 0x50(%rax)\n"
            "movl $1, 0x50(%rax)\n"
            "movl $77, 0x50(%rax)\n" /* no such queue: an exit */
            "mov $0xd0300000, %eax\n"
            "movl $7, (%rax)\n"
            "movl $8, (%rax)\n" POWER_OFF);

static uint64_t hits(const struct vm *vm, const char *name)
{
    for (unsigned i = 0; i < vm->mmio.count; i++) {
        if (strcmp(vm->mmio.range[i].name, name) == 0)
            return vm->mmio.range[i].hits;
    }
    fail_msg("no range %s", name);
    return 0;
}

static void kicks_do_not_exit_to_user_space(void **state)
{
    (void)state;
    struct guest g;
    struct err e = {0};
    guest_init(&g);
    assert_int_equal(guest_create(&g, kick_begin, kick_end, &e), 0);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(kvm_ioeventfd(g.vm->fd, fd, 0xd0300000, 7, true), 0);
    vm_run(g.vm, &g.end);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(hits(g.vm, "console"), 1);
    assert_int_equal(g.vm->mmio.unclaimed, 1); /* the 8 */
    uint64_t count = 0;
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
    assert_int_equal(count, 1);
    assert_int_equal(kvm_ioeventfd(g.vm->fd, fd, 0xd0300000, 7, false), 0);
    assert_int_equal(kvm_ioeventfd(g.vm->fd, fd, 0xd0300000, 7, false), -ENOENT);
    close(fd);
    guest_fini(&g);
}

/* A guest that does nothing but rewrite its entries. */
GUEST(storm, "mov $0xfec00000, %ebp\n"
             "mov $5000, %ecx\n"
             "1: movl $0x10, (%rbp)\n"
             "movl $0x40, 0x10(%rbp)\n"
             "movl $0x10041, 0x10(%rbp)\n"
             "dec %ecx\n"
             "jnz 1b\n" POWER_OFF);

static int open_descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void storm_of_entries_leaks_nothing(void **state)
{
    (void)state;
    struct guest g;
    int before = open_descriptors();
    guest_init(&g);
    GUEST_RUN(&g, storm);
    expect_end(&g, END_POWEROFF);
    guest_fini(&g);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edge_reaches_the_vector),
        cmocka_unit_test(edge_while_masked_is_not_lost),
        cmocka_unit_test(pins_can_be_masked_and_routed_anew),
        cmocka_unit_test(routes_to_nowhere_do_no_harm),
        cmocka_unit_test(kicks_do_not_exit_to_user_space),
        cmocka_unit_test(storm_of_entries_leaks_nothing),
    };
    alarm(120);
    return cmocka_run_group_tests_name("interrupts", tests, NULL, NULL);
}
