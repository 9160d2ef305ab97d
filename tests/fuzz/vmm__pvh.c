/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an ELF kernel whose notes are looked at; then the same bytes as nothing but notes. */
#include "tests/fuzz/kernel_file.h"
#include "vmm/arch/x86/kernel_pvh.h"

static void scan_as_notes(const uint8_t *data, size_t len)
{
    struct elf_kernel elf = {.count = 1};
    struct pvh_notes notes;
    struct boot_file f;
    elf.phdr[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_filesz = len, .p_align = 4};
    int fd = memfd_create("notes", MFD_CLOEXEC);
    must(fd >= 0 && write_full(fd, data, len) == 0);
    if (boot_file_init(&f, "kernel", "input", fd, false, NULL) == 0)
        kernel_pvh_notes(&f, &elf, &notes, NULL);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    load_as_kernel(data, len, BOOT_AUTO, false);
    load_as_kernel(data, len, BOOT_PVH, false);
    scan_as_notes(data, len);
    return 0;
}
