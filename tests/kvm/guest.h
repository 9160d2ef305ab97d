/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests without Linux: a few instructions, written down in the test's own file, become an ELF kernel that
 * the VMM boots like any other. They start in 64-bit mode at GUEST_CODE with memory mapped one to one up to 4
 * GiB, talk to a device that the test puts on the bus, and end with POWER_OFF.
 */
#ifndef CUBBY_TESTS_KVM_GUEST_H
#define CUBBY_TESTS_KVM_GUEST_H

#include "base/io.h"
#include "vmm/vm.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define GUEST_CODE UINT64_C(0x1000000)

/* Assembles `code` into this program; GUEST_RUN(g, name) runs it. Position-independent. */
#define GUEST(name, code)                                                                                    \
    __asm__(".pushsection .rodata\n.balign 16\n" #name "_begin:\n" code "\n" #name "_end:\n.popsection\n");  \
    extern const uint8_t name##_begin[], name##_end[]

/* The doorbell's POWEROFF, then a triple fault: an exception without an IDT. */
#define POWER_OFF                                                                                            \
    "mov $0x600, %dx\nmov $0x10, %al\nout %al, %dx\n"                                                        \
    "push $0\npush $0\nlidt (%rsp)\nud2\n"

/* The test's device. */
#define DEVICE_GPA UINT64_C(0xd0100000)
#define DEVICE     "0xd0100000"
#define ACCESSES   16

struct access {
    uint64_t offset, value;
    uint32_t len;
};

struct guest {
    struct vm_config config;
    struct timeline timeline;
    struct status status;
    struct vm *vm;
    struct end end;
    char kernel[40];
    int kernel_fd;
    unsigned nwrites;
    struct access write[ACCESSES];
    uint64_t answer;                                           /* what the guest reads from the device */
    void (*on_write)(struct guest *g, const struct access *a); /* on the vCPU's thread */
    pthread_t helper;                                          /* the test's, if it starts one */
};

static inline void device_read(void *owner, uint64_t offset, void *data, uint32_t len)
{
    const struct guest *g = owner;
    (void)offset;
    memcpy(data, &g->answer, len);
}

static inline void device_write(void *owner, uint64_t offset, const void *data, uint32_t len)
{
    struct guest *g = owner;
    struct access a = {.offset = offset, .len = len};
    memcpy(&a.value, data, len);
    if (g->nwrites < ACCESSES)
        g->write[g->nwrites] = a;
    g->nwrites++;
    if (g->on_write)
        g->on_write(g, &a);
}

/* An ELF file with one segment, without a name in any folder. */
static inline int guest_make_kernel(const uint8_t *begin, const uint8_t *end)
{
    struct {
        Elf64_Ehdr e;
        Elf64_Phdr p;
    } head = {
        .e =
            {
                .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                .e_type = ET_EXEC,
                .e_machine = EM_X86_64,
                .e_version = EV_CURRENT,
                .e_entry = GUEST_CODE,
                .e_phoff = sizeof(Elf64_Ehdr),
                .e_ehsize = sizeof(Elf64_Ehdr),
                .e_phentsize = sizeof(Elf64_Phdr),
                .e_phnum = 1,
            },
        .p =
            {
                .p_type = PT_LOAD,
                .p_flags = PF_R | PF_X,
                .p_offset = sizeof(head),
                .p_vaddr = GUEST_CODE,
                .p_paddr = GUEST_CODE,
                .p_filesz = (uint64_t)(end - begin),
                .p_memsz = (uint64_t)(end - begin),
            },
    };
    int fd = memfd_create("guest", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, &head, sizeof(head)), 0);
    assert_int_equal(write_full(fd, begin, (size_t)(end - begin)), 0);
    return fd;
}

static inline void guest_init(struct guest *g)
{
    memset(g, 0, sizeof(*g));
    config_init(&g->config);
    g->config.memory_mib = 32;
    g->kernel_fd = -1;
}

static inline int guest_create(struct guest *g, const uint8_t *begin, const uint8_t *end, struct err *e)
{
    static const struct bus_ops ops = {.read = device_read, .write = device_write};
    g->kernel_fd = guest_make_kernel(begin, end);
    snprintf(g->kernel, sizeof(g->kernel), "/proc/self/fd/%d", g->kernel_fd);
    config_set(&g->config.kernel, g->kernel);
    timeline_init(&g->timeline, now_ns());
    status_init(&g->status, NULL, NULL);
    int r = vm_create(&g->vm, &g->config, &g->timeline, &g->status, e);
    return r ? r : bus_add(&g->vm->mmio, DEVICE_GPA, 0x1000, "test", &ops, g);
}

/* Runs the guest to its end; g->vm stays for the test to look at. */
static inline void guest_run(struct guest *g, const uint8_t *begin, const uint8_t *end)
{
    struct err e = {0};
    if (guest_create(g, begin, end, &e))
        fail_msg("%s", e.text);
    vm_run(g->vm, &g->end);
}

#define GUEST_RUN(g, name) guest_run(g, name##_begin, name##_end)

static inline void guest_fini(struct guest *g)
{
    vm_destroy(g->vm);
    g->vm = NULL;
    if (g->kernel_fd >= 0)
        close(g->kernel_fd);
    config_fini(&g->config);
}

static inline void expect_end(const struct guest *g, enum end_reason reason)
{
    if (g->end.reason != reason)
        fail_msg("the guest's end is %s (%s), not %s", end_name(g->end.reason), g->end.detail,
                 end_name(reason));
}

static inline void expect_write(const struct guest *g, unsigned i, uint64_t offset, uint32_t len,
                                uint64_t value)
{
    assert_true(i < g->nwrites);
    assert_int_equal(g->write[i].offset, offset);
    assert_int_equal(g->write[i].len, len);
    assert_int_equal(g->write[i].value, value);
}

#endif
