/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: extended attributes come by name and value, as getxattr(2) shows them. Access control
 * lists come either so (system.posix_acl_*), or as text that libarchive has parsed; the text becomes the
 * attribute that it means. Left out are attributes that belong to the machine on which the layer was made
 * (SELinux labels, an overlay's own marks, what other kernels know) as they do in other tools.
 */
#include "oci/merge_inner.h"

#include "base/cursor.h"
#include "base/log.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ATTRIBUTES_MAX 128u
#define ACL_MAX        256u /* entries of a list */
#define ACL_VERSION    2u   /* include/uapi/linux/posix_acl_xattr.h */

struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};

struct attributes {
    struct ext4_xattr list[ATTRIBUTES_MAX + 2];
    size_t count;
    uint8_t acl[2][4 + ACL_MAX * 8]; /* access and default */
};

static bool is_wanted(const char *name)
{
    if (strcmp(name, "security.selinux") == 0 || strncmp(name, "trusted.overlay.", 16) == 0)
        return false;
    return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
           strncmp(name, "security.", 9) == 0 || strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

/* libarchive lists the latest first. */
static int collect_xattrs(struct archive_entry *entry, struct attributes *a, struct err *e)
{
    const char *name;
    const void *value;
    size_t len;
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &len) == ARCHIVE_OK) {
        if (!is_wanted(name))
            continue;
        if (a->count == ATTRIBUTES_MAX)
            return err_set(e, OCI_E_LIMIT, "it has more than %u extended attributes", ATTRIBUTES_MAX);
        a->list[a->count++] = (struct ext4_xattr){name, value, len};
    }
    for (size_t i = 0; i < a->count / 2; i++) {
        struct ext4_xattr swap = a->list[i];
        a->list[i] = a->list[a->count - 1 - i];
        a->list[a->count - 1 - i] = swap;
    }
    return 0;
}

/* The tags' numbers are in the order that the kernel wants. */
static uint16_t acl_tag(int tag)
{
    switch (tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ:
        return 0x01;
    case ARCHIVE_ENTRY_ACL_USER:
        return 0x02;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
        return 0x04;
    case ARCHIVE_ENTRY_ACL_GROUP:
        return 0x08;
    case ARCHIVE_ENTRY_ACL_MASK:
        return 0x10;
    case ARCHIVE_ENTRY_ACL_OTHER:
        return 0x20;
    default:
        return 0;
    }
}

static int by_tag(const void *one, const void *two)
{
    const struct acl_entry *a = one, *b = two;
    if (a->tag != b->tag)
        return a->tag < b->tag ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Reads a list; returns how many entries, or -1 when it cannot be said in numbers. */
static int read_acl(struct archive_entry *entry, int which, struct acl_entry list[ACL_MAX])
{
    int type, permset, tag, id, count = 0;
    const char *name;
    archive_entry_acl_reset(entry, which);
    while (archive_entry_acl_next(entry, which, &type, &permset, &tag, &id, &name) == ARCHIVE_OK) {
        bool named = tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP;
        if (count == (int)ACL_MAX || acl_tag(tag) == 0 || (named && id < 0))
            return -1;
        list[count++] = (struct acl_entry){
            .tag = acl_tag(tag), .perm = (uint16_t)(permset & 7), .id = named ? (uint32_t)id : UINT32_MAX};
    }
    if (count)
        qsort(list, (size_t)count, sizeof(list[0]), by_tag);
    return count;
}

/* Adds the list as an attribute. One that names users without numbers has no meaning in the image (nor for
 * other tools, which ignore such lists altogether) and is left out. */
static void collect_acl(struct archive_entry *entry, int which, const char *name, uint8_t *room,
                        struct attributes *a)
{
    struct acl_entry list[ACL_MAX];
    if (archive_entry_acl_count(entry, which) == 0)
        return;
    int count = read_acl(entry, which, list);
    if (count < 0) {
        log_warn(LOG_IMAGE, "an access control list that is not in numbers is left out");
        return;
    }
    struct writer w = writer_of(room, 4 + ACL_MAX * 8);
    write_u32(&w, ACL_VERSION);
    for (int i = 0; i < count; i++) {
        write_u16(&w, list[i].tag);
        write_u16(&w, list[i].perm);
        write_u32(&w, list[i].id);
    }
    a->list[a->count++] = (struct ext4_xattr){name, room, writer_len(&w)};
}

int merge_attributes(struct merge *m, struct archive_entry *entry, uint32_t node, struct err *e)
{
    struct attributes a;
    a.count = 0;
    int ret = collect_xattrs(entry, &a, e);
    if (ret < 0)
        return ret;
    collect_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, "system.posix_acl_access", a.acl[0], &a);
    collect_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, "system.posix_acl_default", a.acl[1], &a);
    return a.count ? ext4_image_set_xattrs(m->img, node, a.list, a.count, e) : 0;
}
