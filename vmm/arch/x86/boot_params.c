/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the kernel finds one page through rsi. Most of its 4 KiB speak of BIOS, EFI and VGA,
 * which we do not have: zeros. We fill in what a boot loader answers for: who loaded it, where command line
 * and initrd are, which RAM there is, and the setup_data chain, a linked list in guest-physical memory by
 * which further things are handed over; here a random seed and the device tree.
 */
#include "vmm/arch/x86/boot_params.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define LOADER_UNKNOWN 0xff /* type_of_loader: no number assigned */

_Static_assert(SETUP_RNG_SEED == 9, "arch/x86/include/uapi/asm/setup_data.h of Linux");
_Static_assert(SETUP_DATA_SEED + sizeof(struct setup_data) + BOOT_SEED_SIZE <= SETUP_DATA_DTB,
               "the seed ends before the tree begins");
_Static_assert((SETUP_DATA_DTB + sizeof(struct setup_data)) % 8 == 0, "a device tree is 8-byte aligned");

/* Writes a node's head; its `len` bytes of data follow it in guest memory. */
static int write_node(struct gmem *m, gpa_t at, gpa_t next, uint32_t type, uint32_t len)
{
    struct setup_data node = {.next = next, .type = type, .len = len};
    return gmem_write(m, at, &node, sizeof(node));
}

static int write_seed(struct gmem *m, struct err *e)
{
    uint8_t *seed = gmem_ptr(m, SETUP_DATA_SEED + sizeof(struct setup_data), BOOT_SEED_SIZE);
    if (!seed)
        return err_set(e, -EFAULT, "no guest memory at the place of the random seed");
    ssize_t n;
    do
        n = getrandom(seed, BOOT_SEED_SIZE, 0); /* up to 256 bytes come whole (getrandom(2)) */
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_sys(e, "cannot get a random seed for the guest");
    int ret = write_node(m, SETUP_DATA_SEED, SETUP_DATA_DTB, SETUP_RNG_SEED, BOOT_SEED_SIZE);
    return ret < 0 ? err_set(e, ret, "no guest memory at the place of the random seed") : 0;
}

int boot_params_write_setup_data(struct gmem *m, const struct fdt_machine *machine, struct err *e)
{
    int ret = write_seed(m, e);
    if (ret < 0)
        return ret;
    gpa_t tree = SETUP_DATA_DTB + sizeof(struct setup_data);
    uint32_t room = (uint32_t)(LAYOUT_SETUP_DATA + LAYOUT_SETUP_DATA_SIZE - tree);
    void *buf = gmem_ptr(m, tree, room);
    if (!buf)
        return err_set(e, -EFAULT, "no guest memory at the place of the device tree");
    uint32_t size;
    ret = fdt_build(machine, buf, room, &size, e);
    if (ret < 0)
        return ret;
    ret = write_node(m, SETUP_DATA_DTB, 0, SETUP_DTB, size);
    return ret < 0 ? err_set(e, ret, "no guest memory at the place of the device tree") : 0;
}

int boot_params_write(struct gmem *m, const struct kernel_image *k, const struct initrd *initrd)
{
    struct boot_params p;
    memset(&p, 0, sizeof(p));
    p.hdr = k->setup;
    p.hdr.type_of_loader = LOADER_UNKNOWN;
    p.hdr.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
    p.hdr.setup_data = SETUP_DATA_SEED;
    /* Below 3 GiB, always: the ext_ fields with the upper halves stay 0. */
    p.hdr.ramdisk_image = (uint32_t)initrd->start;
    p.hdr.ramdisk_size = (uint32_t)initrd->size;
    p.e820_entries = (uint8_t)layout_e820(m, p.e820_table);
    return gmem_write(m, LAYOUT_ZERO_PAGE, &p, sizeof(p));
}
