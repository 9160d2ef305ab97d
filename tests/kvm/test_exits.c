/* SPDX-License-Identifier: Apache-2.0 */
/* Each way in which a vCPU leaves the guest, and each way in which a VM ends. */
#include "tests/kvm/guest.h"

#include <asm/processor-flags.h>
#include <linux/kvm.h>

/* --- memory-mapped I/O
 * -------------------------------------------------------------------------------------- */

GUEST(widths, "mov $" DEVICE ", %ebx\n"
              "mov $0x1122334455667788, %rax\n"
              "movb %al, 0x10(%rbx)\n"
              "movw %ax, 0x20(%rbx)\n"
              "movl %eax, 0x30(%rbx)\n"
              "movq %rax, 0x40(%rbx)\n"
              "movb 0x50(%rbx), %al\n" /* and back: what is read is written again */
              "movb %al, 0x51(%rbx)\n"
              "movq 0x58(%rbx), %rax\n"
              "movq %rax, 0x58(%rbx)\n" POWER_OFF);

static void accesses_of_each_width_reach_the_device(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.answer = 0xfedcba9876543210;
    GUEST_RUN(&g, widths);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 6);
    expect_write(&g, 0, 0x10, 1, 0x88);
    expect_write(&g, 1, 0x20, 2, 0x7788);
    expect_write(&g, 2, 0x30, 4, 0x55667788);
    expect_write(&g, 3, 0x40, 8, 0x1122334455667788);
    expect_write(&g, 4, 0x51, 1, 0x10);
    expect_write(&g, 5, 0x58, 8, 0xfedcba9876543210);
    guest_fini(&g);
}

GUEST(unclaimed, "mov $" DEVICE ", %ebx\n"
                 "mov $0xd0200000, %ecx\n"
                 "movl (%rcx), %eax\n" /* nobody answers there */
                 "movl %eax, (%rcx)\n"
                 "movl %eax, (%rbx)\n"
                 "movl 0xffe(%rbx), %eax\n" /* over the end of the device */
                 "movl %eax, (%rbx)\n"
                 "mov $0x555, %dx\n"
                 "in %dx, %eax\n"
                 "movl %eax, (%rbx)\n" POWER_OFF);

static void where_no_device_answers_reads_yield_ones(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, unclaimed);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.nwrites, 3);
    expect_write(&g, 0, 0, 4, 0xffffffff);
    /* KVM splits an access that crosses a page: the part within the device is answered by it. */
    expect_write(&g, 1, 0, 4, 0xffff0000);
    expect_write(&g, 2, 0, 4, 0xffffffff);
    guest_fini(&g);
}

/* --- ports
 * ---------------------------------------------------------------------------------------------------- */

GUEST(strings, "lea 1f(%rip), %rsi\n"
               "mov $0x3f8, %dx\n"
               "mov $2f - 1f, %ecx\n"
               "cld\n"
               "rep outsb\n"
               "mov $0x20000, %edi\n" /* reads the line status eight times */
               "mov $0x3fd, %dx\n"
               "mov $8, %ecx\n"
               "rep insb\n"
               "mov $" DEVICE ", %ebx\n"
               "movq 0x20000, %rax\n"
               "movq %rax, (%rbx)\n" POWER_OFF "1: .ascii \"a string, written at once\\n\"\n2:\n");

static void strings_go_through_ports(void **state)
{
    (void)state;
    struct guest g;
    char text[64] = "";
    int fds[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(fds), 0);
    guest_init(&g);
    g.config.serial = true;
    dup2(fds[1], STDERR_FILENO); /* where the serial port's bytes go */
    GUEST_RUN(&g, strings);
    expect_write(&g, 0, 0, 8, 0x6060606060606060);
    guest_fini(&g);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
    assert_string_equal(text, "a string, written at once\n");
    close(fds[0]);
}

GUEST(wide_doorbell, "mov $0x600, %dx\n"
                     "mov $0x12121212, %eax\n"
                     "out %eax, %dx\n" /* four bytes at a one-byte device */
                     "out %ax, %dx\n"
                     "mov $0x77, %al\n" /* a code that means nothing */
                     "out %al, %dx\n"
                     "in %dx, %al\n"
                     "mov $" DEVICE ", %ebx\n"
                     "movb %al, (%rbx)\n" POWER_OFF);

static void doorbell_takes_single_bytes_only(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, wide_doorbell);
    expect_end(&g, END_POWEROFF);
    expect_write(&g, 0, 0, 1, 0xff);
    guest_fini(&g);
}

GUEST(rings, "mov $0x600, %dx\n"
             "mov $1, %al\nout %al, %dx\n"
             "mov $2, %al\nout %al, %dx\n"
             "mov $3, %al\nout %al, %dx\n"
             "mov $3, %al\nout %al, %dx\n" POWER_OFF);

static void doorbell_stamps_the_timeline_once(void **state)
{
    (void)state;
    struct guest g;
    uint64_t at[TIMELINE_MARKS];
    guest_init(&g);
    GUEST_RUN(&g, rings);
    for (unsigned i = 0; i < TIMELINE_MARKS; i++) {
        assert_true(timeline_at(&g.timeline, i, &at[i]));
        assert_true(i == 0 || at[i] >= at[i - 1]);
    }
    assert_true(atomic_load(&g.vm->ready_reported));
    assert_int_equal(g.vm->exits_until_ready.by_kind[KVM_EXIT_IO], 3); /* the one that said so included */
    struct exit_report all;
    vm_report_exits(g.vm, &all);
    assert_int_equal(all.by_kind[KVM_EXIT_IO], 5);
    assert_int_equal(all.by_kind[KVM_EXIT_SHUTDOWN], 1);
    guest_fini(&g);
}

/* --- ends
 * ----------------------------------------------------------------------------------------------------- */

GUEST(fault, "ud2\n");

static void reset_without_notice_is_a_triple_fault(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, fault);
    expect_end(&g, END_TRIPLE_FAULT);
    guest_fini(&g);
}

GUEST(reboot, "mov $0x600, %dx\nmov $0x11, %al\nout %al, %dx\nud2\n");
GUEST(init_failed, "mov $0x600, %dx\nmov $0x12, %al\nout %al, %dx\nud2\n");
/* The last word counts. */
GUEST(changed_mind, "mov $0x600, %dx\nmov $0x12, %al\nout %al, %dx\nmov $0x10, %al\nout %al, %dx\nud2\n");

static void announced_ends_keep_their_names(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, reboot);
    expect_end(&g, END_REBOOT);
    guest_fini(&g);
    guest_init(&g);
    GUEST_RUN(&g, init_failed);
    expect_end(&g, END_INIT_FAILED);
    guest_fini(&g);
    guest_init(&g);
    GUEST_RUN(&g, changed_mind);
    expect_end(&g, END_POWEROFF);
    guest_fini(&g);
}

GUEST(promise, "mov $0x600, %dx\nmov $0x10, %al\nout %al, %dx\n1: hlt\njmp 1b\n");

static void announced_end_that_does_not_come_is_made(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, promise);
    expect_end(&g, END_POWEROFF);
    assert_non_null(strstr(g.end.detail, "did not reset"));
    guest_fini(&g);
}

/* Code where no memory is: KVM cannot fetch an instruction from a device. */
GUEST(astray, "mov $0xd0200000, %eax\njmp *%rax\n");

static void code_outside_memory_is_an_internal_error_with_its_address(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, astray);
    expect_end(&g, END_INTERNAL_ERROR);
    assert_non_null(strstr(g.end.detail, "vCPU 0"));
    assert_non_null(strstr(g.end.detail, "0xd0200000"));
    guest_fini(&g);
}

GUEST(halted, "mov $" DEVICE ", %ebx\nmovb %al, (%rbx)\n1: cli\nhlt\njmp 1b\n");
GUEST(spinning, "mov $" DEVICE ", %ebx\nmovb %al, (%rbx)\n1: jmp 1b\n");

static void *stop_soon(void *arg)
{
    struct guest *g = arg;
    usleep(20000);
    vm_end(g->vm, END_STOPPED, "by the test");
    vm_end(g->vm, END_PANIC, "too late");
    return NULL;
}

static void start_stopper(struct guest *g, const struct access *a)
{
    (void)a;
    assert_int_equal(pthread_create(&g->helper, NULL, stop_soon, g), 0);
}

static void halted_and_spinning_guests_can_be_stopped(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct guest g;
        guest_init(&g);
        g.config.cpus = 2; /* the second one waits for its start: it has to be kicked out too */
        g.on_write = start_stopper;
        if (i == 0)
            GUEST_RUN(&g, halted);
        else
            GUEST_RUN(&g, spinning);
        pthread_join(g.helper, NULL);
        expect_end(&g, END_STOPPED);
        assert_string_equal(g.end.detail, "by the test");
        guest_fini(&g);
    }
}

static void end_on_write(struct guest *g, const struct access *a)
{
    (void)a;
    vm_end(g->vm, END_STOPPED, "from a vCPU");
}

static void a_vcpu_can_end_its_own_vm(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.on_write = end_on_write;
    GUEST_RUN(&g, spinning);
    expect_end(&g, END_STOPPED);
    guest_fini(&g);
}

/* --- memory
 * --------------------------------------------------------------------------------------------------- */

/* Maps 1 GiB from 4 GiB in 2 MiB pages, with the fifth entry of the PDPT that the VMM made at 0xa000. */
GUEST(high_memory, "mov $0x70000, %edi\n"
                   "mov $0x100000083, %rax\n"
                   "mov $512, %ecx\n"
                   "1: mov %rax, (%rdi)\n"
                   "add $8, %rdi\n"
                   "add $0x200000, %rax\n"
                   "dec %ecx\n"
                   "jnz 1b\n"
                   "movq $0x70003, 0xa020\n"
                   "mov %cr3, %rax\n"
                   "mov %rax, %cr3\n"
                   "mov $0x100000000, %rbx\n"
                   "movq $0x600df00d, (%rbx)\n"
                   "mov $0x13ffffff8, %rcx\n"
                   "movq $0x0badcafe, (%rcx)\n"
                   "mov $" DEVICE ", %edx\n"
                   "mov (%rbx), %rax\n"
                   "mov %rax, (%rdx)\n" POWER_OFF);

static void memory_beyond_4_gib_is_there(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    g.config.memory_mib = 4096; /* 3 GiB below the hole, 1 GiB above 4 GiB */
    GUEST_RUN(&g, high_memory);
    expect_end(&g, END_POWEROFF);
    expect_write(&g, 0, 0, 8, 0x600df00d);
    uint64_t v = 0;
    assert_int_equal(gmem_read(&g.vm->mem, 0x13ffffff8, &v, 8), 0);
    assert_int_equal(v, 0x0badcafe);
    assert_int_equal(gmem_read(&g.vm->mem, 0x140000000, &v, 1), -14);
    guest_fini(&g);
}

/* --- processors
 * ----------------------------------------------------------------------------------------------- */

/* Copies the 16-bit code to 0x60000 and sends INIT and SIPI (vector 0x60) to all others, by the APIC's
 * registers. */
GUEST(smp, "lea 10f(%rip), %rsi\n"
           "mov $0x60000, %edi\n"
           "mov $20f - 10f, %ecx\n"
           "cld\n"
           "rep movsb\n"
           "mov $0xfee00000, %ebx\n"
           "movl $0x1ff, 0xf0(%rbx)\n"
           "movl $0xc4500, 0x300(%rbx)\n" /* INIT, all but self */
           "movl $0xc4660, 0x300(%rbx)\n" /* SIPI */
           "mov $" DEVICE ", %edx\n"
           "mov (%rdx), %ecx\n" /* how many there are */
           "1: pause\n"
           "cmpb %cl, 0x61000\n"
           "jne 1b\n"
           "movzbl 0x61000, %eax\n"
           "mov %al, (%rdx)\n" POWER_OFF "10: .code16\n"
           "mov $0x6000, %ax\n"
           "mov %ax, %ds\n"
           "lock incb 0x1000\n"
           "2: hlt\n"
           "jmp 2b\n"
           ".code64\n20:\n");

static void further_cpus_start_by_init_and_sipi(void **state)
{
    (void)state;
    static const unsigned cpus[] = {2, 4, VM_CPUS_MAX};
    for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
        struct guest g;
        guest_init(&g);
        g.config.cpus = cpus[i];
        g.answer = cpus[i] - 1;
        GUEST_RUN(&g, smp);
        expect_end(&g, END_POWEROFF);
        expect_write(&g, 0, 0, 1, cpus[i] - 1);
        guest_fini(&g);
    }
}

/* What CPUID says: APIC id, hypervisor, KVM's signature. */
GUEST(cpuid, "mov $" DEVICE ", %esi\n"
             "mov $1, %eax\ncpuid\n"
             "movl %ebx, (%rsi)\n"
             "movl %ecx, (%rsi)\n"
             "mov $0x40000000, %eax\ncpuid\n"
             "movl %ebx, (%rsi)\n"
             "mov $0x2ff, %ecx\nrdmsr\n"
             "movl %eax, (%rsi)\n" POWER_OFF);

static void processor_describes_itself_as_a_kvm_guest(void **state)
{
    (void)state;
    struct guest g;
    guest_init(&g);
    GUEST_RUN(&g, cpuid);
    expect_end(&g, END_POWEROFF);
    assert_int_equal(g.write[0].value >> 24, 0);
    assert_true(g.write[1].value & 1u << 31);
    assert_true(g.write[1].value & 1u << 24);
    assert_int_equal(g.write[2].value, 0x4b4d564b);
    assert_int_equal(g.write[3].value, 0x806); /* memory is write-back */
    guest_fini(&g);
}

static void two_vms_live_in_one_process(void **state)
{
    (void)state;
    struct guest a, b;
    struct err e = {0};
    guest_init(&a);
    guest_init(&b);
    assert_int_equal(guest_create(&a, widths_begin, widths_end, &e), 0);
    assert_int_equal(guest_create(&b, unclaimed_begin, unclaimed_end, &e), 0);
    vm_run(b.vm, &b.end);
    vm_run(a.vm, &a.end);
    expect_end(&a, END_POWEROFF);
    expect_end(&b, END_POWEROFF);
    assert_int_equal(a.nwrites, 6);
    assert_int_equal(b.nwrites, 3);
    guest_fini(&a);
    guest_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accesses_of_each_width_reach_the_device),
        cmocka_unit_test(where_no_device_answers_reads_yield_ones),
        cmocka_unit_test(strings_go_through_ports),
        cmocka_unit_test(doorbell_takes_single_bytes_only),
        cmocka_unit_test(doorbell_stamps_the_timeline_once),
        cmocka_unit_test(reset_without_notice_is_a_triple_fault),
        cmocka_unit_test(announced_ends_keep_their_names),
        cmocka_unit_test(announced_end_that_does_not_come_is_made),
        cmocka_unit_test(code_outside_memory_is_an_internal_error_with_its_address),
        cmocka_unit_test(halted_and_spinning_guests_can_be_stopped),
        cmocka_unit_test(a_vcpu_can_end_its_own_vm),
        cmocka_unit_test(memory_beyond_4_gib_is_there),
        cmocka_unit_test(further_cpus_start_by_init_and_sipi),
        cmocka_unit_test(processor_describes_itself_as_a_kvm_guest),
        cmocka_unit_test(two_vms_live_in_one_process),
    };
    alarm(120); /* a guest that hangs ends the program */
    return cmocka_run_group_tests_name("exits", tests, NULL, NULL);
}
