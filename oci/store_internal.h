/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share: its folders, its locks, and small durable files. */
#ifndef CUBBY_OCI_STORE_INTERNAL_H
#define CUBBY_OCI_STORE_INTERNAL_H

#include "oci/store.h"

#include <pthread.h>
#include <sys/stat.h>

enum store_dir {
    DIR_TOP,
    DIR_BLOBS,
    DIR_ROOTFS,
    DIR_REFS,
    DIR_PARTIAL,
    DIR_LOCKS,
    DIR_LEASES,
    DIR_COUNT, /* how many */
};

/* Nothing changes after store_open(), so threads share it without a lock. */
struct store {
    char *path;         /* absolute */
    int dir[DIR_COUNT]; /* descriptors of its folders */
};

struct store_lease {
    struct store *store;
    int fd; /* O_APPEND; holds the exclusive flock */
    char name[32];
    pthread_mutex_t lock; /* of what follows */
    void *noted;          /* tsearch tree of struct digest: what is in the file */
};

/* Room for the name of any file of ours: a digest's hex and ".ext4" or ".json". */
#define STORE_NAME_MAX 80

const char *store_dir_name(enum store_dir d);
/* "<hex>.ext4" and the like into `buf` of STORE_NAME_MAX bytes. */
const char *store_object_name(char *buf, const struct digest *d, const char *suffix);
/* `prefix` and 16 random hex digits. */
void store_random_name(char *buf, const char *prefix);
/* Says "cannot <what> '<path of the object>': <errno>"; returns -errno. */
int store_sys(const struct store *s, const char *what, enum store_dir d, const char *name, struct err *e);

/* The store's lock; `how` is LOCK_SH or LOCK_EX. Waits. Returns a descriptor; closing it unlocks. */
int store_lock(const struct store *s, int how, struct err *e);

/* The lock of an object in the making: its descriptor, or -EAGAIN when somebody else has it. */
int object_lock(const struct store *s, const char *name, struct err *e);
void object_unlock(const struct store *s, const char *name, int fd);
/* Waits a little, longer each time; -ECANCELED when `cancel_fd` became readable. */
int object_wait(int cancel_fd, unsigned *round, struct err *e);

/* Makes the change of a folder durable. */
int store_sync_dir(const struct store *s, enum store_dir d, struct err *e);
/* From partial/<from> to d/<to>: mode 0444, the file on disk, renamed, the folder on disk. */
int store_publish(const struct store *s, int fd, const char *from, enum store_dir d, const char *to,
                  struct err *e);
/* A small file that appears whole or not at all. Under the store's lock. */
int store_put_file(const struct store *s, enum store_dir d, const char *name, const char *text, size_t len,
                   struct err *e);
/* Opens a complete object with a shared lock, -ENOENT when it is not there (any more). */
int store_open_object(const struct store *s, enum store_dir d, const char *name, uint64_t *size,
                      struct err *e);

/* Calls `fn` for each name in the folder that is not hidden; stops when it returns a negative value. */
typedef int store_name_fn(void *context, const char *name, struct err *e);
int store_each(const struct store *s, enum store_dir d, store_name_fn *fn, void *context, struct err *e);

/* The reference in the file `name`, and when it was last used. OCI_E_FORMAT when it is none. */
int store_ref_read(const struct store *s, const char *name, struct image_ref *out, time_t *used_at,
                   struct err *e);

#endif
