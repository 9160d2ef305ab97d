/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: each probe guest starts in 64-bit mode at ring 0, with paging, a GDT, an IDT and a
 * stack, does one thing, and reports with one byte to an I/O port, which KVM hands to us as an exit.
 * Everything that a guest needs lies in 64 KiB of memory laid out below; the code is assembled into this file
 * and copied there.
 */
#include "base/io.h"
#include "base/own.h"
#include "vmm/arch/x86/cpuid.h"
#include "vmm/arch/x86/regs.h"
#include "vmm/exits.h"
#include "vmm/probe_guest.h"

#include <asm/processor-flags.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

/* Guest-physical memory, mapped one to one. */
#define PML4_GPA    0x1000
#define PDPT_GPA    0x2000
#define PD_GPA      0x3000
#define GDT_GPA     0x4000
#define IDT_GPA     0x5000
#define STACK_TOP   0x7000
#define SCRATCH_GPA 0x7000 /* a page that the guests write to; rdi points there */
#define CODE_GPA    0x8000
#define MEMORY_SIZE 0x10000

#define PTE_PRESENT 0x001
#define PTE_WRITE   0x002
#define PTE_LARGE   0x080

#define VECTOR_BP  3
#define VECTOR_PF  14
#define IDT_GATES  15
#define NOT_MAPPED 0x400000 /* only the first 2 MiB are */

/* What a guest writes to the port, and where. */
#define REPORT_PORT  0xf4
#define REPORT_OK    1
#define REPORT_START 2 /* the timed loop begins */
#define REPORT_WRONG 3 /* the instruction ran, but with a wrong result */

extern const uint8_t probe_code[], probe_code_end[];
extern const uint8_t probe_long_mode[], probe_control[], probe_int3[], probe_fault[], probe_iretq[],
    probe_cmpxchg16b[], probe_xrstor[], probe_loop[], probe_on_exception[];

/* The same for the assembler. */
#define STR(x)       #x
#define XSTR(x)      STR(x)
#define S_PORT       XSTR(REPORT_PORT)
#define S_OK         XSTR(REPORT_OK)
#define S_START      XSTR(REPORT_START)
#define S_WRONG      XSTR(REPORT_WRONG)
#define S_NOT_MAPPED XSTR(NOT_MAPPED)
#define S_CS         XSTR(BOOT_CS)
#define S_DS         XSTR(BOOT_DS)
#define S_LOOP       XSTR(PROBE_LOOP_INSNS)

/* rdi = SCRATCH_GPA. A guest that comes to an end without a report halts, which is an exit as well. */
__asm__(".pushsection .rodata\n"
        ".macro report what\n"
        "   mov $\\what, %al\n"
        "   out %al, $" S_PORT "\n"
        ".endm\n"
        ".balign 16\n"
        "probe_code:\n"

        "probe_long_mode:\n"
        "   report " S_OK "\n"
        "   hlt\n"

        /* What a kernel does first: control registers, TLB, model-specific registers. */
        "probe_control:\n"
        "   mov %cr3, %rax\n"
        "   mov %rax, %cr3\n"
        "   invlpg (%rdi)\n"
        "   mov $0xc0000080, %ecx\n" /* EFER */
        "   rdmsr\n"
        "   wrmsr\n"
        "   swapgs\n"
        "   report " S_OK "\n"
        "   hlt\n"

        /* Exceptions: the handler reports. */
        "probe_int3:\n"
        "   int3\n"
        "   report " S_WRONG "\n"
        "   hlt\n"

        "probe_fault:\n"
        "   mov $" S_NOT_MAPPED ", %eax\n"
        "   mov (%rax), %rax\n"
        "   report " S_WRONG "\n"
        "   hlt\n"

        "probe_on_exception:\n"
        "   report " S_OK "\n"
        "   hlt\n"

        /* As after an interrupt: ss, rsp, rflags, cs, rip are on the stack. */
        "probe_iretq:\n"
        "   mov %rsp, %rax\n"
        "   push $" S_DS "\n"
        "   push %rax\n"
        "   pushfq\n"
        "   push $" S_CS "\n"
        "   lea 1f(%rip), %rax\n"
        "   push %rax\n"
        "   iretq\n"
        "   report " S_WRONG "\n"
        "   hlt\n"
        "1: report " S_OK "\n"
        "   hlt\n"

        /* Memory holds zeros: compared with rdx:rax = 0, exchanged for rcx:rbx = 2:1. */
        "probe_cmpxchg16b:\n"
        "   xor %eax, %eax\n"
        "   xor %edx, %edx\n"
        "   mov $1, %ebx\n"
        "   mov $2, %ecx\n"
        "   lock cmpxchg16b (%rdi)\n"
        "   jnz 1f\n"
        "   cmpl $1, (%rdi)\n"
        "   jne 1f\n"
        "   cmpl $2, 8(%rdi)\n"
        "   jne 1f\n"
        "   report " S_OK "\n"
        "   hlt\n"
        "1: report " S_WRONG "\n"
        "   hlt\n"

        /* The x87 state, component 0, there and back. */
        "probe_xrstor:\n"
        "   mov $1, %eax\n"
        "   xor %edx, %edx\n"
        "   xsave64 (%rdi)\n"
        "   mov $1, %eax\n"
        "   xrstor64 (%rdi)\n"
        "   report " S_OK "\n"
        "   hlt\n"

        "probe_loop:\n"
        "   mov $" S_LOOP " / 2, %ecx\n"
        "   report " S_START "\n"
        "1: dec %ecx\n"
        "   jnz 1b\n"
        "   report " S_OK "\n"
        "   jmp probe_loop\n"

        "probe_code_end:\n"
        ".purgem report\n"
        ".popsection\n");

/* The order of probe_entries is that of probe_guests. */
const struct probe_guest probe_guests[] = {
    {"guest-long-mode", "run code in 64-bit mode at ring 0", false},
    {"guest-control", "reload CR3, invalidate a page, write an MSR", false},
    {"guest-int3", "take a breakpoint exception (int3)", false},
    {"guest-page-fault", "take a page fault", false},
    {"guest-iretq", "return from an interrupt (iretq)", false},
    {"guest-cmpxchg16b", "exchange 16 bytes atomically (cmpxchg16b)", false},
    {"guest-xrstor", "save and restore processor state (xsave, xrstor)", false},
    {"guest-speed", "run a loop", true},
    {NULL, NULL, false},
};

static const uint8_t *const probe_entries[] = {
    probe_long_mode, probe_control,    probe_int3,   probe_fault,
    probe_iretq,     probe_cmpxchg16b, probe_xrstor, probe_loop,
};

_Static_assert(ARRAY_LEN(probe_entries) + 1 == ARRAY_LEN(probe_guests), "an entry for each guest");

/* One VM with one vCPU; every field is released by guest_fini(). */
struct guest {
    struct gmem mem;
    int vm_fd, vcpu_fd;
    struct kvm_run *run;
};

static void guest_fini(const struct kvm *k, struct guest *g)
{
    if (g->run)
        munmap(g->run, k->run_size);
    fd_closep(&g->vcpu_fd);
    fd_closep(&g->vm_fd);
    gmem_fini(&g->mem);
}

static void fill_memory(struct gmem *m)
{
    uint64_t gdt[BOOT_GDT_ENTRIES];
    struct kvm_segment code = regs_code64();
    regs_fill_gdt(gdt, &code);
    gmem_write(m, GDT_GPA, gdt, sizeof(gdt));

    const uint64_t pml4e = PDPT_GPA | PTE_PRESENT | PTE_WRITE;
    const uint64_t pdpte = PD_GPA | PTE_PRESENT | PTE_WRITE;
    const uint64_t pde = 0 | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
    gmem_write(m, PML4_GPA, &pml4e, sizeof(pml4e));
    gmem_write(m, PDPT_GPA, &pdpte, sizeof(pdpte));
    gmem_write(m, PD_GPA, &pde, sizeof(pde));

    /* Interrupt gates (SDM vol. 3A §6.14.1) to one handler; the addresses are below 64 KiB. */
    uint64_t handler = CODE_GPA + (uint64_t)(probe_on_exception - probe_code);
    const uint64_t gate[2] = {handler | (uint64_t)BOOT_CS << 16 | UINT64_C(0x8e) << 40, 0};
    gmem_write(m, IDT_GPA + VECTOR_BP * sizeof(gate), gate, sizeof(gate));
    gmem_write(m, IDT_GPA + VECTOR_PF * sizeof(gate), gate, sizeof(gate));

    gmem_write(m, CODE_GPA, probe_code, (uint64_t)(probe_code_end - probe_code));
}

static int set_registers(int vcpu_fd, const uint8_t *entry)
{
    struct kvm_sregs s;
    int r = kvm_ioctl(vcpu_fd, KVM_GET_SREGS, &s);
    if (r)
        return r;
    regs_long_mode(&s, PML4_GPA, GDT_GPA);
    s.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
    s.idt = (struct kvm_dtable){.base = IDT_GPA, .limit = IDT_GATES * 16 - 1};
    r = kvm_ioctl(vcpu_fd, KVM_SET_SREGS, &s);
    if (r)
        return r;
    struct kvm_regs regs = {
        .rip = CODE_GPA + (uint64_t)(entry - probe_code),
        .rsp = STACK_TOP,
        .rdi = SCRATCH_GPA,
        .rflags = X86_EFLAGS_FIXED,
    };
    return kvm_ioctl(vcpu_fd, KVM_SET_REGS, &regs);
}

static int guest_init(const struct kvm *k, struct guest *g, const uint8_t *entry, struct err *e)
{
    int r = gmem_add(&g->mem, 0, MEMORY_SIZE, e);
    if (r)
        return r;
    fill_memory(&g->mem);
    g->vm_fd = kvm_create_vm(k, e);
    if (g->vm_fd < 0)
        return g->vm_fd;
    r = kvm_set_memory(g->vm_fd, &g->mem, e);
    if (r)
        return r;
    g->vcpu_fd = kvm_create_vcpu(k, g->vm_fd, 0, &g->run, e);
    if (g->vcpu_fd < 0)
        return g->vcpu_fd;

    CLEANUP(mem_freep) struct kvm_cpuid2 *cpuid = NULL;
    r = cpuid_supported(k, &cpuid, e);
    if (r)
        return r;
    r = kvm_ioctl(g->vcpu_fd, KVM_SET_CPUID2, cpuid);
    if (r)
        return err_set(e, r, "KVM refuses the CPUID that it supports: %s", strerror(-r));
    r = set_registers(g->vcpu_fd, entry);
    return r ? err_set(e, r, "KVM refuses the registers of 64-bit mode: %s", strerror(-r)) : 0;
}

/* The byte that the guest wrote to the port, or -1 for any other exit. */
static int reported(const struct kvm_run *run)
{
    if (run->exit_reason != KVM_EXIT_IO || run->io.direction != KVM_EXIT_IO_OUT ||
        run->io.port != REPORT_PORT)
        return -1;
    return ((const uint8_t *)run)[run->io.data_offset];
}

static int guest_failed(const struct guest *g, int report, struct err *e)
{
    char what[256];
    if (report == REPORT_WRONG)
        return err_set(e, -EPROTO, "it ran, but with a wrong result");
    if (g->run->exit_reason == KVM_EXIT_HLT)
        return err_set(e, -EPROTO, "it halted instead");
    exit_describe(g->run, what, sizeof(what));
    return err_set(e, -EIO, "%s", what);
}

/* Runs the guest until it reports: REPORT_OK or REPORT_START, or a negative errno. */
static int run_to_report(const struct guest *g, struct err *e)
{
    int r = kvm_ioctl(g->vcpu_fd, KVM_RUN, NULL);
    if (r < 0)
        return err_set(e, r, "KVM_RUN failed: %s", strerror(-r));
    int report = reported(g->run);
    return report == REPORT_START || report == REPORT_OK ? report : guest_failed(g, report, e);
}

/* The fastest of some rounds, each from REPORT_START to REPORT_OK; a slow processor need not do them all. */
static int time_rounds(const struct guest *g, uint64_t *loop_ns, struct err *e)
{
    uint64_t begin = now_ns();
    *loop_ns = UINT64_MAX;
    for (int i = 0; i < PROBE_ROUNDS && now_ns() - begin < NSEC_PER_SEC; i++) {
        int r = run_to_report(g, e);
        uint64_t start = now_ns();
        if (r == REPORT_START)
            r = run_to_report(g, e);
        if (r < 0)
            return r;
        uint64_t took = now_ns() - start;
        if (took < *loop_ns)
            *loop_ns = took;
    }
    return 0;
}

int probe_guest_run(const struct kvm *k, const struct probe_guest *pg, uint64_t *loop_ns, struct err *e)
{
    struct guest g = {.vm_fd = -1, .vcpu_fd = -1};
    int r = guest_init(k, &g, probe_entries[pg - probe_guests], e);
    if (r == 0 && pg->timed)
        r = time_rounds(&g, loop_ns, e);
    else if (r == 0)
        r = run_to_report(&g, e);
    guest_fini(k, &g);
    return r < 0 ? r : 0;
}
