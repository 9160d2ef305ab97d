/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a piece is read straight into guest memory, which is made of huge pages where the host
 * has them, so that the guest runs over it without a fault. Mapping is the other way: it costs nothing at
 * first, then a fault per page, two more if the guest writes to it. Only whole pages are mapped, and what is
 * left of the last one is read: a piece of the next segment may follow in the same page, and a mapping would
 * cover it.
 *
 * Whoever can write to a mapped file can change what a running guest sees, and whoever cuts it short makes
 * the guest's access fail (KVM_RUN then returns EFAULT): only files of a trusted owner are to be mapped.
 */
#include "vmm/arch/x86/boot_file.h"
#include "base/io.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE UINT64_C(4096)

/*
 * Not every file system can map (some of FUSE, 9p without a cache). To be found out before: a failing mmap()
 * with MAP_FIXED may leave a hole where guest memory was.
 */
static bool can_map(int fd)
{
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, PAGE);
    return true;
}

int boot_file_init(struct boot_file *f, const char *what, const char *path, int fd, bool map, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(e, "cannot look at %s '%s'", what, path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "%s '%s' is a folder", what, path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "%s '%s' is not a regular file", what, path);
    if (st.st_size == 0)
        return err_set(e, -EINVAL, "%s '%s' is empty", what, path);
    *f = (struct boot_file){.fd = fd, .what = what, .path = path, .size = (uint64_t)st.st_size};
    f->map = map && can_map(fd);
    return 0;
}

/* Is [offset, offset+len) in the file? Without a sum that could wrap. */
static int check_range(const struct boot_file *f, uint64_t offset, uint64_t len, struct err *e)
{
    if (offset <= f->size && len <= f->size - offset)
        return 0;
    return err_set(e, -ENOEXEC,
                   "%s '%s' is cut short: it ends at byte %" PRIu64 ", but 0x%" PRIx64 " bytes at 0x%" PRIx64
                   " belong to it",
                   f->what, f->path, f->size, len, offset);
}

int boot_file_read(const struct boot_file *f, uint64_t offset, void *buf, size_t len, struct err *e)
{
    int ret = check_range(f, offset, len, e);
    if (ret < 0)
        return ret;
    ret = pread_full(f->fd, buf, len, offset);
    if (ret == -ENODATA)
        return err_set(e, -ENOEXEC, "%s '%s' was cut short while it was read", f->what, f->path);
    if (ret < 0)
        return err_set(e, ret, "cannot read %s '%s': %s", f->what, f->path, strerror(-ret));
    return 0;
}

int boot_file_load(const struct boot_file *f, struct gmem *m, const struct boot_piece *p, struct err *e)
{
    if (p->len == 0)
        return 0;
    int ret = check_range(f, p->offset, p->len, e);
    if (ret < 0)
        return ret;
    uint8_t *at = gmem_ptr(m, p->gpa, p->len);
    if (!at)
        return err_set(e, -EFAULT, "%s '%s': 0x%" PRIx64 " bytes at 0x%" PRIx64 " are not guest memory",
                       f->what, f->path, p->len, p->gpa);
    uint64_t mapped = 0;
    if (f->map && p->offset % PAGE == 0 && p->gpa % PAGE == 0)
        mapped = p->len & ~(PAGE - 1);
    ret = gmem_map_file(m, p->gpa, f->fd, p->offset, mapped, e);
    if (ret < 0)
        return err_prefix(e, "%s '%s'", f->what, f->path);
    return boot_file_read(f, p->offset + mapped, at + mapped, p->len - mapped, e);
}
